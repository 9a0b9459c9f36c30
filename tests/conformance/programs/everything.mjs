// Uses every public method of E2B's JavaScript SDK, of the package that is named; prints what became of each as JSON.
import { randomUUID } from 'node:crypto'

const { Sandbox, Template, Volume, Secret } = await import(process.argv[2])
const name = `all-${randomUUID().slice(0, 12)}`
const results = {}

async function step(title, work) {
  try {
    const value = await work()
    results[title] = 'ok'
    return value
  } catch (error) {
    results[title] = /is not a function|undefined \(reading/.test(error.message) ? 'lacks' : `${error.name}: ${error.message}`
  }
}

function unless(found, expected) {
  if (found !== expected) throw new Error(`${JSON.stringify(found)} instead of ${JSON.stringify(expected)}`)
}

async function life(sandbox) {
  await step('Sandbox.list', () => Sandbox.list().nextItems())
  await step('Sandbox.connect', () => Sandbox.connect(sandbox.sandboxId))
  await step('getInfo', () => sandbox.getInfo())
  await step('Sandbox.getInfo', () => Sandbox.getInfo(sandbox.sandboxId))
  await step('isRunning', () => sandbox.isRunning())
  await step('setTimeout', () => sandbox.setTimeout(200_000))
  await step('getMetrics', () => sandbox.getMetrics())
  await step('getHost', () => sandbox.getHost(8000))
  await step('getMcpUrl', () => sandbox.getMcpUrl())
  await sandbox.files.write('/etc/mcp-gateway/.token', 'token', { user: 'root' })
  await step('getMcpToken', () => sandbox.getMcpToken())
  await step('updateNetwork', () => sandbox.updateNetwork({ denyOut: ['192.0.2.0/24'] }))
}

async function commands(sandbox) {
  await step('commands.run', async () =>
    unless((await sandbox.commands.run('echo $GREETING; whoami')).stdout, 'hello\nuser\n')
  )
  const cat = await step('commands.run(background)', () => sandbox.commands.run('cat', { background: true, stdin: true }))
  await step('commands.list', () => sandbox.commands.list())
  const connected = await step('commands.connect', () => sandbox.commands.connect(cat.pid))
  await step('commands.sendStdin', () => sandbox.commands.sendStdin(cat.pid, 'one\n'))
  await step('commands.closeStdin', () => sandbox.commands.closeStdin(cat.pid))
  await step('handle.wait', async () => unless((await cat.wait()).stdout.split('\n')[0], 'one'))
  await connected?.disconnect()
  await step('commands.kill', async () => {
    const sleep = await sandbox.commands.run('sleep 60', { background: true })
    unless(await sandbox.commands.kill(sleep.pid), true)
  })
}

async function terminals(sandbox) {
  const options = { onData: () => {} }
  const pty = await step('pty.create', () => sandbox.pty.create({ cols: 80, rows: 24, ...options }))
  await step('pty.resize', () => sandbox.pty.resize(pty.pid, { cols: 90, rows: 30 }))
  await step('pty.connect', () => sandbox.pty.connect(pty.pid, options))
  await step('pty.sendInput', () => sandbox.pty.sendInput(pty.pid, new TextEncoder().encode('true\n')))
  await step('pty.kill', () => sandbox.pty.kill(pty.pid))
}

async function files(sandbox) {
  const { files } = sandbox
  await step('files.write', () => files.write('a/one', '1'))
  await step('files.writeFiles', () => files.writeFiles([{ path: 'a/two', data: '2' }]))
  await step('files.read', async () => unless(await files.read('a/one'), '1'))
  await step('files.exists', () => files.exists('a/one'))
  await step('files.getInfo', () => files.getInfo('a/one'))
  await step('files.list', () => files.list('a'))
  await step('files.makeDir', () => files.makeDir('a/b'))
  await step('files.rename', () => files.rename('a/two', 'a/three'))
  await step('files.watchDir', async () => {
    let handle
    await new Promise((seen, failed) =>
      files
        .watchDir('a', () => seen())
        .then((made) => {
          handle = made
          return files.write('a/watched', 'x')
        })
        .catch(failed)
    )
    await handle.stop()
  })
  await step('files.remove', () => files.remove('a'))
  await step('uploadUrl, downloadUrl', async () => {
    const form = new FormData()
    form.append('file', new Blob(['by link']), 'linked')
    const url = await sandbox.uploadUrl('linked', { useSignatureExpiration: 60_000 })
    unless((await fetch(url, { method: 'POST', body: form })).status, 200)
    const link = await sandbox.downloadUrl('linked', { useSignatureExpiration: 60_000 })
    unless(await (await fetch(link)).text(), 'by link')
  })
}

async function git({ git, files }) {
  const author = { authorName: 'A', authorEmail: 'a@example.org' }
  await step('git.init', () => git.init('repo'))
  await step('git.init(bare)', () => git.init('bare', { bare: true }))
  await step('git.configureUser', () => git.configureUser('A', 'a@example.org'))
  await step('git.setConfig', () => git.setConfig('pull.rebase', 'false'))
  await step('git.getConfig', () => git.getConfig('pull.rebase'))
  await files.write('repo/file', 'x')
  await step('git.add', () => git.add('repo'))
  await step('git.commit', () => git.commit('repo', 'first', author))
  await step('git.status', () => git.status('repo'))
  await step('git.branches', () => git.branches('repo'))
  await step('git.createBranch', () => git.createBranch('repo', 'gone'))
  await step('git.createBranch again', () => git.createBranch('repo', 'side'))
  await step('git.checkoutBranch', () => git.checkoutBranch('repo', 'side'))
  await step('git.deleteBranch', () => git.deleteBranch('repo', 'gone', { force: true }))
  await step('git.remoteAdd', () => git.remoteAdd('repo', 'origin', '/home/user/bare'))
  await step('git.remoteGet', () => git.remoteGet('repo', 'origin'))
  await step('git.push', () => git.push('repo', { remote: 'origin', branch: 'side', setUpstream: true }))
  await step('git.pull', () => git.pull('repo', { remote: 'origin', branch: 'side' }))
  await step('git.clone', () => git.clone('/home/user/bare', { path: 'copy', branch: 'side' }))
  await step('git.reset', () => git.reset('repo', { mode: 'hard' }))
  await step('git.restore', () => git.restore('repo', { paths: ['file'] }))
  await step('git.dangerouslyAuthenticate', () =>
    git.dangerouslyAuthenticate({ username: 'me', password: 'secret' })
  )
}

async function states(sandbox) {
  await step('pause', () => sandbox.pause())
  await step('connect(paused)', () => sandbox.connect())
  await step('betaPause', () => sandbox.betaPause())
  await step('connect(paused) again', () => sandbox.connect())
  const taken = await step('createSnapshot', () => sandbox.createSnapshot())
  await step('listSnapshots', () => sandbox.listSnapshots().nextItems())
  if (taken) await step('Sandbox.deleteSnapshot', () => Sandbox.deleteSnapshot(taken.snapshotId))
  const copies = await step('fork', () => sandbox.fork({ timeoutMs: 60_000 }))
  for (const copy of copies ?? []) await copy.kill()
}

async function templates() {
  const made = (text) => Template().fromTemplate('base').runCmd(`echo ${text} # ${name}`)
  await step('Template.build', () => Template.build(made('one'), name))
  const info = await step('Template.buildInBackground', () => Template.buildInBackground(made('two'), name))
  let status
  do {
    status = await step('Template.getBuildStatus', () => Template.getBuildStatus(info))
  } while (['building', 'waiting'].includes(status?.status))
  await step('Template.exists', () => Template.exists(name))
  await step('Template.aliasExists', () => Template.aliasExists(name))
  await step('Template.assignTags', () => Template.assignTags(`${name}:default`, ['v1']))
  await step('Template.getTags', () => Template.getTags(name))
  await step('Template.removeTags', () => Template.removeTags(name, ['v1']))
  await step('Sandbox.deleteSnapshot(template)', () => Sandbox.deleteSnapshot(name))
}

async function volumes() {
  const volume = await step('Volume.create', () => Volume.create(name))
  await step('Volume.list', () => Volume.list())
  if (!volume) return
  await step('Volume.getInfo', () => Volume.getInfo(volume.volumeId))
  await step('Volume.connect', () => Volume.connect(volume.volumeId))
  await step('volume.makeDir', () => volume.makeDir('/d'))
  await step('volume.writeFile', () => volume.writeFile('/d/f', 'text'))
  await step('volume.readFile', () => volume.readFile('/d/f'))
  await step('volume.list', () => volume.list('/d'))
  await step('volume.exists', () => volume.exists('/d/f'))
  await step('volume.getInfo', () => volume.getInfo('/d/f'))
  await step('volume.updateMetadata', () => volume.updateMetadata('/d/f', { mode: 0o600 }))
  await step('volume.remove', () => volume.remove('/d'))
  await step('Volume.destroy', () => Volume.destroy(volume.volumeId))
}

async function secrets() {
  const made = await step('Secret.create', () => Secret.create(name, 'value'))
  await step('Secret.list', () => Secret.list().nextItems())
  if (!made) return
  await step('Secret.getInfo', () => Secret.getInfo(name))
  await step('Secret.exists', () => Secret.exists(name))
  await step('Secret.update', () => Secret.update(name, 'other'))
  await step('Secret.destroy', () => Secret.destroy(name))
}

const options = { timeoutMs: 300_000, metadata: { of: name }, envs: { GREETING: 'hello' } }
const sandbox = await step('Sandbox.create', () => Sandbox.create('base', options))
for (const part of [life, commands, terminals, files, git, states])
  await step(`all of ${part.name}`, () => part(sandbox))
await step('kill', () => sandbox.kill())
for (const whole of [templates, volumes, secrets]) await step(`all of ${whole.name}`, whole)
console.log(JSON.stringify(results))
process.exit(0)
