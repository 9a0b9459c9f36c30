// Every call of a volume, by its class and by itself; then two sandboxes that share it.
import { AuthenticationError, Sandbox, Volume, VolumeNotFoundError, VolumePathNotFoundError } from 'e2b'

const [name] = process.argv.slice(2)
const failure = (promise) => promise.then(() => 'no failure', (error) => `${error.name}: ${error.message}`)
const text = (bytes) => new TextDecoder().decode(bytes)
const all = async (stream) => {
  let read = ''
  for await (const chunk of stream) read += text(chunk)
  return read
}

const shown = {}
const volume = await Volume.create(name)
const again = await Volume.connect(volume.volumeId)
const info = await Volume.getInfo(volume.volumeId)
shown.same = [again.name, info.name].every((found) => found === name) && again.token === info.token
shown.listed = (await Volume.list()).some((found) => found.volumeId === volume.volumeId && found.name === name)
shown.twice = await failure(Volume.create(name))

const made = await volume.makeDir('/a/b', { uid: 1, gid: 2, mode: 0o750, force: true })
shown.directory = [made.name, made.path, made.type, made.uid, made.gid, made.mode]
shown.noParents = (await failure(volume.makeDir('/x/y'))).split(':')[0]
const written = await volume.writeFile('/a/text', 'héllo', { uid: 3, gid: 4, mode: 0o600, force: false })
shown.written = [written.size, written.uid, written.gid, written.mode, written.mtime instanceof Date]
shown.there = await failure(volume.writeFile('/a/text', 'again', { force: false }))
shown.text = await again.readFile('/a/text')
shown.bytes = text(await volume.readFile('/a/text', { format: 'bytes' }))
shown.blob = await (await volume.readFile('/a/text', { format: 'blob' })).text()
shown.stream = await all(await volume.readFile('/a/text', { format: 'stream', streamIdleTimeoutMs: 30_000 }))
await volume.writeFile('/a/buffer', new TextEncoder().encode('buffer').buffer)
await volume.writeFile('/a/blob', new Blob(['blob']))
await volume.writeFile('/a/stream', new Blob(['x'.repeat(3_000_000)]).stream())
shown.others = [await volume.readFile('/a/buffer'), await volume.readFile('/a/blob')]
shown.streamed = (await volume.getInfo('/a/stream')).size
const changed = await volume.updateMetadata('/a/text', { uid: 5, gid: 6, mode: 0o644 })
shown.changed = [changed.uid, changed.gid, changed.mode]
shown.list = (await volume.list('/')).map((entry) => entry.path)
shown.deep = (await volume.list('/', { depth: 2 })).map((entry) => entry.path)
shown.exists = [await volume.exists('/a/text'), await volume.exists('/none')]
shown.missing = await volume.readFile('/none').catch((error) => error instanceof VolumePathNotFoundError)
const stranger = new Volume(volume.volumeId, name, 'none', volume.domain)
shown.stranger = await stranger.list('/').catch((error) => error instanceof AuthenticationError)
await volume.remove('/a')
shown.left = await volume.list('/')

const first = await Sandbox.create('base', { volumeMounts: { '/data': volume } })
const second = await Sandbox.create('base', { volumeMounts: { '/mnt/other': name } })
try {
  await first.files.write('/data/file', 'shared')
  shown.shared = [await second.files.read('/mnt/other/file'), await volume.readFile('file')]
  shown.mounts = (await first.getInfo()).volumeMounts
  shown.mounted = (await failure(Volume.destroy(volume.volumeId))).includes('is mounted in sandbox')
} finally {
  await first.kill()
  await second.kill()
}
shown.destroyed = [await Volume.destroy(volume.volumeId), await Volume.destroy(volume.volumeId)]
shown.gone = await Volume.getInfo(volume.volumeId).catch((error) => error instanceof VolumeNotFoundError)
console.log(JSON.stringify(shown))
