// Every method and option of the module for files, watches included.
import { Sandbox } from 'e2b'
import { failures } from './attempts.mjs'

const sandbox = await Sandbox.create({ timeoutMs: 120_000 })
const { files, commands } = sandbox
const found = {}
const out = async (command, user) => (await commands.run(command, { user })).stdout
const bytes = new Uint8Array(1 << 20).map((_, index) => index % 256)
const buffer = bytes.buffer
const same = (other) => Buffer.compare(Buffer.from(other), Buffer.from(bytes)) === 0
const collect = async (stream) => {
  const pieces = []
  for await (const piece of stream) pieces.push(piece)
  return Buffer.concat(pieces)
}
const stream = (count) => {
  let sent = 0
  return new ReadableStream({
    pull: (controller) => (sent++ < count ? controller.enqueue(bytes) : controller.close()),
  })
}

async function transfers() {
  found.transfers = {}
  for (const [how, opts] of Object.entries({
    plain: {},
    octets: { useOctetStream: true },
    form: { useOctetStream: false },
    gzip: { gzip: true },
  })) {
    const read = { gzip: opts.gzip, requestTimeoutMs: 60_000 }
    const told = []
    for (const data of ['text', buffer, new Blob([bytes]), stream(1)]) {
      const written = await files.write(`${how}/data`, data, { ...opts, requestTimeoutMs: 60_000 })
      told.push(written.path === `/home/user/${how}/data` && written.name === 'data' && written.type === 'file')
      if (data === 'text') told.push((await files.read(`${how}/data`, { ...read, format: 'text' })) === 'text')
      else told.push(same(await files.read(`${how}/data`, { ...read, format: 'bytes' })))
    }
    told.push(same(await (await files.read(`${how}/data`, { ...read, format: 'blob' })).arrayBuffer()))
    const streamed = await files.read(`${how}/data`, { ...read, format: 'stream', streamIdleTimeoutMs: 30_000 })
    told.push(same(await collect(streamed)))
    found.transfers[how] = told
  }
  await files.write('empty', '')
  found.empty = [
    await files.read('empty'),
    (await files.read('empty', { format: 'bytes' })).length,
    (await files.read('empty', { format: 'blob' })).size,
    (await collect(await files.read('empty', { format: 'stream' }))).length,
  ]
  await files.write('large', stream(64))
  found.large = (await out('wc -c < large; tail -c 1 large | od -An -tu1')).split(/\s+/).filter(Boolean)
  const left = (await files.read('large', { format: 'stream' })).getReader()
  await left.read()
  await left.cancel()
  found.afterCancel = await files.exists('large')
}

async function several() {
  const many = await files.write([
    { path: 'many/a', data: 'A' },
    { path: '/home/user/many/b', data: buffer },
    { path: 'many/c d', data: new Blob(['C']) },
  ], { metadata: { Job: '7' } })
  found.many = many.map(({ path, metadata }) => [path, metadata])
  found.roots = (await files.writeFiles([{ path: 'r1', data: '1' }, { path: 'r2', data: '2' }], { user: 'root', gzip: true })).map((info) => info.path)
  found.none = await files.write([])
  found.metadata = [
    (await files.getInfo('many/a')).metadata,
    (await files.rename('many/a', 'many/z')).metadata,
    (await files.write('many/z', 'x')).metadata ?? null,
    (await files.getInfo('many/z')).metadata ?? null,
  ]
}

async function directories() {
  found.made = [await files.makeDir('d/e/f', { user: 'root' }), await files.makeDir('/root/d/e/f'), await files.exists('/root/d', { requestTimeoutMs: 30_000 })]
  await commands.run('mkdir -p t/a/x t/b; touch t/a/2 t/c; ln -s a t/link; ln -s /none t/gone; chmod 4751 t/c')
  found.listed = (await files.list('t')).map((entry) => [entry.name, entry.type, entry.symlinkTarget ?? null])
  found.deep = (await files.list('t', { depth: 3, user: 'user' })).map((entry) => entry.path)
  const info = await files.getInfo('t/c')
  found.info = { ...info, modifiedTime: info.modifiedTime instanceof Date, mode: info.mode & 0o777 }
  found.renamed = (await files.rename('t/a', 'u/v', { user: 'user' })).path
  await files.remove('u')
  await files.remove('u')
  found.left = await files.exists('u')
  const names = ['two words', "quote'\"`$(x)", 'percent%20&a=b?c#d;e+f', 'line\nbreak', '-rf', 'grün \u{1F680}', 'x'.repeat(255)]
  found.names = []
  for (const name of names) {
    const path = `/home/user/names/${name}`
    const written = await files.write(path, name, { useOctetStream: true })
    found.names.push(written.path === path && (await files.read(path)) === name && (await files.getInfo(path)).name === name)
  }
  found.namesListed = (await files.list('names')).map((entry) => entry.name).sort().join('/') === names.sort().join('/')
  await commands.run("mkdir bad; touch \"$(printf 'bad/a\\377b')\"")
  found.notText = (await files.list('bad')).map((entry) => entry.name)
}

async function watches() {
  const events = []
  const plain = []
  let left
  const ended = new Promise((resolve) => (left = resolve))
  await commands.run('mkdir watched; touch watched/old')
  const watch = await files.watchDir('watched', (event) => events.push(event), {
    recursive: true,
    includeEntry: true,
    allowNetworkMounts: true,
    user: 'user',
    timeoutMs: 0,
    requestTimeoutMs: 30_000,
    onExit: (error) => left(error.name),
  })
  const other = await files.watchDir('watched', async (event) => { plain.push(event) })
  await commands.run('cd watched; echo 1 > new; chmod 600 new; mv new named; rm named; mkdir -p sub/deep; echo > sub/deep/file; mkdir end')
  const seen = (list) => list.some((event) => event.name === 'end')
  while (!seen(events) || !seen(plain)) await new Promise((resolve) => setTimeout(resolve, 10))
  await watch.stop()
  await other.stop()
  found.watchEnded = await ended
  found.events = events.map((event) => [event.name, event.type])
  found.entries = events.filter((event) => event.name === 'end').map((event) => event.entry.path)
  found.withoutEntry = events.filter((event) => ['remove', 'rename'].includes(event.type)).every((event) => event.entry === undefined)
  found.plain = plain.filter((event) => event.name.includes('/') || event.entry).length
  let over
  const finished = new Promise((resolve) => (over = resolve))
  await files.watchDir('watched', () => {}, { timeoutMs: 300, onExit: over })
  found.watchTime = (await finished).name
}

try {
  await transfers()
  await several()
  await directories()
  await watches()
  await files.write('file', 'x')
  found.failures = await failures({
    read: () => files.read('missing'),
    readStream: () => files.read('missing', { format: 'stream' }),
    readDirectory: () => files.read('/etc'),
    getInfo: () => files.getInfo('missing'),
    list: () => files.list('missing'),
    rename: () => files.rename('missing', 'x'),
    watch: () => files.watchDir('missing', () => {}),
    listFile: () => files.list('file'),
    makeFile: () => files.makeDir('file'),
    watchFile: () => files.watchDir('file', () => {}),
    depth: () => files.list('/', { depth: 0 }),
    home: () => files.list('~nobody'),
    nul: () => files.read('a\0b'),
    readUser: () => files.read('x', { user: 'nobody-here' }),
    listUser: () => files.list('/', { user: 'nobody-here' }),
    metadata: () => files.write('x', 'x', { metadata: { k: 'v'.repeat(5000) } }),
    name: () => files.write('x'.repeat(300), 'x'),
    time: () => files.list('/usr', { depth: 20, requestTimeoutMs: 1 }),
  })
} finally {
  await sandbox.kill()
}
console.log(JSON.stringify(found))
