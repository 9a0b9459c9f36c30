// A full disk (the argument is a template with a small one), and a sandbox that is killed in the middle of things.
import { Sandbox } from 'e2b'
import { failures } from './attempts.mjs'

const [template] = process.argv.slice(2)
const bytes = new Uint8Array(8 << 20)
const endless = () => {
  let sent = 0
  return new ReadableStream({
    pull: (controller) => (sent++ < 50 ? controller.enqueue(bytes) : controller.close()),
  })
}
// Gives Node time for other things: it would only ever pull.
const slow = () =>
  new ReadableStream({
    pull: async (controller) => {
      await new Promise((resolve) => setTimeout(resolve, 1))
      controller.enqueue(new Uint8Array(1000))
    },
  })
const found = {}

const small = await Sandbox.create(template, { timeoutMs: 120_000 })
try {
  await small.commands.run('! head -c 1G /dev/zero > most')
  found.full = await failures({
    form: () => small.files.write('new', bytes.buffer),
    octets: () => small.files.write('new', bytes.buffer, { useOctetStream: true }),
    gzip: () => small.files.write('new', bytes.buffer, { gzip: true }),
    several: () => small.files.write([{ path: 'a', data: 'x' }, { path: 'b', data: bytes.buffer }]),
    large: () => small.files.write('new', new Blob([bytes, bytes, bytes, bytes, bytes, bytes])),
    stream: () => small.files.write('new', endless()),
  })
  await small.files.remove('most')
  found.room = (await small.files.write('new', bytes.buffer)).path
} finally {
  await small.kill()
}

// What `act` becomes when its sandbox is killed meanwhile, by another object for it.
async function killedDuring(act) {
  const sandbox = await Sandbox.create({ timeoutMs: 60_000 })
  await sandbox.commands.run('truncate -s 200G large')
  setTimeout(() => Sandbox.kill(sandbox.sandboxId), 300)
  return (await failures({ act: () => act(sandbox) })).act
}
found.killed = {
  command: await killedDuring(({ commands }) => commands.run('exec sleep 1000', { timeoutMs: 0 })),
  read: await killedDuring(({ files }) => files.read('large', { format: 'blob' })),
  write: await killedDuring(({ files }) => files.write('new', slow())),
  input: await killedDuring(async ({ commands }) => {
    const deaf = await commands.run('exec sleep 1000', { background: true, stdin: true })
    await commands.sendStdin(deaf.pid, 'x'.repeat(1 << 20))
  }),
  watch: await killedDuring(
    ({ files }) =>
      new Promise((_, fail) => files.watchDir('/tmp', () => {}, { timeoutMs: 0, onExit: fail }))
  ),
  stream: await killedDuring(async ({ files }) => {
    for await (const _ of await files.read('large', { format: 'stream' }));
  }),
}

const gone = await Sandbox.create({ timeoutMs: 60_000 })
await gone.kill()
found.gone = await failures({
  run: () => gone.commands.run('true'),
  list: () => gone.commands.list(),
  kill: () => gone.commands.kill(1),
  terminal: () => gone.pty.create({ cols: 80, rows: 24, onData: () => {} }),
  read: () => gone.files.read('x'),
  write: () => gone.files.write('x', 'x'),
  listDir: () => gone.files.list('/'),
  watch: () => gone.files.watchDir('/', () => {}),
})
found.running = await gone.isRunning()
console.log(JSON.stringify(found))
// A stream that nobody reads any more would keep Node alive.
process.exit()
