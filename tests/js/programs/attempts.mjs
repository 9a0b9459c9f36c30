// What the SDK makes of attempts that fail.
export async function failures(attempts) {
  const told = {}
  for (const [what, attempt] of Object.entries(attempts)) {
    told[what] = await Promise.resolve()
      .then(attempt)
      .then(
        () => 'did not fail',
        (error) => `${error.name}: ${error.message}`
      )
  }
  return told
}
