// Says what a sandbox may reach, changes it while it runs, and looks what it reaches.
import { ALL_TRAFFIC, Sandbox } from 'e2b'

const [one, other, address, username, password] = process.argv.slice(2)
const sandbox = await Sandbox.create({ network: { allowOut: [one], denyOut: ({ allTraffic }) => [allTraffic] } })
const reached = async () => {
  const found = []
  for (const address of [one, other]) {
    const command = `curl --silent --output /dev/null --max-time 5 http://${address}/ && echo yes || echo no`
    found.push((await sandbox.commands.run(command)).stdout.trim())
  }
  return found
}
try {
  const made = await reached()
  const info = await sandbox.getInfo()
  await sandbox.updateNetwork({ denyOut: [one] })
  const updated = await reached()
  await Sandbox.updateNetwork(sandbox.sandboxId, { allowInternetAccess: false })
  const closed = await reached()
  await sandbox.updateNetwork({ allowOut: ['named.example.com'], denyOut: [ALL_TRAFFIC] })
  const named = (await sandbox.getInfo()).network
  await sandbox.updateNetwork({ egressProxy: { address, username, password } })
  const proxied = await reached()
  const { egressProxy } = (await sandbox.getInfo()).network
  const failures = []
  for (const attempt of [
    () => sandbox.updateNetwork({ denyOut: ['example.com'] }),
    () => Sandbox.updateNetwork('nosuchsandbox', {}),
  ]) {
    failures.push(await attempt().then(String, (error) => `${error.name}: ${error.message}`))
  }
  console.log(JSON.stringify({ made, network: info.network, updated, closed, named, proxied, egressProxy, failures }))
} finally {
  await sandbox.kill()
}
