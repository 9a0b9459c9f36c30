// Every method of the git module, on repositories and the git server (its program is the argument) in the sandbox.
import { readFileSync } from 'node:fs'
import { Sandbox } from 'e2b'
import { failures } from './attempts.mjs'

const URL = 'http://127.0.0.1:8418/shared.git'
const who = { username: 'someone', password: 'pass-word' }
const author = { authorName: 'Some One', authorEmail: 'someone@example.com' }
const sandbox = await Sandbox.create({ timeoutMs: 120_000 })
const { git, files, commands } = sandbox
const found = {}
const out = async (command) => (await commands.run(`git ${command}`)).stdout.trimEnd()

async function local() {
  await git.init('work', { initialBranch: 'main' })
  await files.write('work/file', 'one\n')
  await git.add('work')
  await git.commit('work', "it's \"quoted\" $HOME", author)
  found.log = await out("-C work log --format='%an <%ae> %s'")
  found.clean = (await git.status('work')).isClean
  await commands.run('cd work; echo more >> file; echo y > added; echo z > other')
  await git.add('work', { files: ['added'] })
  const status = await git.status('work')
  found.status = [status.currentBranch, status.stagedCount, status.untrackedCount, status.hasConflicts]
  found.states = status.fileStatus.map((file) => [file.name, file.status, file.staged])
  await git.restore('work', { paths: ['added'], staged: true })
  await git.restore('work', { paths: ['file'] })
  found.restored = await files.read('work/file')
  await git.add('work', { all: false })
  await git.reset('work', { paths: ['other'] })
  await git.commit('work', 'Second', { ...author, allowEmpty: true })
  await git.reset('work', { mode: 'hard', target: 'HEAD~1' })
  found.afterReset = await out('-C work rev-list --count HEAD')
  await git.createBranch('work', 'topic/one')
  found.branches = await git.branches('work')
  await git.commit('work', 'Only here', { ...author, allowEmpty: true })
  await git.checkoutBranch('work', 'main')
  found.unmerged = await failures({ delete: () => git.deleteBranch('work', 'topic/one') })
  await git.deleteBranch('work', 'topic/one', { force: true })
  await git.configureUser('Glo Bal', 'global@example.com')
  await git.setConfig('user.name', 'Lo Cal', { scope: 'local', path: 'work' })
  await git.setConfig('core.abbrev', '12', { scope: 'system', user: 'root' })
  found.config = [
    await git.getConfig('user.name'),
    await git.getConfig('user.name', { scope: 'local', path: 'work' }),
    await git.getConfig('core.abbrev', { scope: 'system' }),
    (await git.getConfig('user.nickname')) ?? null,
  ]
}

async function remote() {
  found.noRemote = (await git.remoteGet('work', 'origin')) ?? null
  await git.init('/srv/git/shared.git', { bare: true, initialBranch: 'main', user: 'root' })
  await files.write('/srv/server.py', readFileSync(process.argv[2], 'utf8'), { user: 'root' })
  const serve = 'git -C /srv/git/shared.git config http.receivepack true; exec python3 /srv/server.py /srv/git'
  await commands.run(serve, { user: 'root', background: true, timeoutMs: 0 })
  await commands.run(`until curl --silent --output /dev/null ${URL}; do :; done`)
  await git.remoteAdd('work', 'origin', '/nowhere')
  found.upstream = await failures({ push: () => git.push('work'), pull: () => git.pull('work') })
  await git.remoteAdd('work', 'origin', URL, { overwrite: true })
  found.remote = await git.remoteGet('work', 'origin')
  found.auth = await failures({
    clone: () => git.clone(URL),
    wrong: () => git.clone(URL, { ...who, password: 'wrong' }),
    push: () => git.push('work', { remote: 'origin', branch: 'main' }),
    pull: () => git.pull('work', { remote: 'origin', branch: 'main' }),
    user: () => git.clone(URL, { password: 'x' }),
    reset: () => git.reset('work', { mode: 'wild' }),
    restore: () => git.restore('work', { paths: [] }),
    config: () => git.setConfig('a.b', 'c', { scope: 'local' }),
    checkout: () => git.checkoutBranch('work', 'none'),
  })
  await git.push('work', { branch: 'main', ...who })
  await git.clone(URL, { path: 'copy', branch: 'main', depth: 1, ...who })
  await git.commit('copy', 'There', { allowEmpty: true })
  found.ahead = (await git.status('copy')).ahead
  await git.push('copy', { remote: 'origin', branch: 'main', setUpstream: true, ...who })
  await git.pull('work', { remote: 'origin', branch: 'main', ...who })
  found.pulled = await out('-C work log -1 --format=%s')
  found.kept = (await commands.run('grep --recursive --count pass-word work/.git/config copy/.git/config || true')).stdout
  await git.clone(URL, { path: 'keeping', dangerouslyStoreCredentials: true, ...who })
  await git.pull('keeping')
  await git.dangerouslyAuthenticate({ ...who, host: '127.0.0.1:8418', protocol: 'http' })
  await git.clone(URL)
  found.cloned = await files.read('shared/file')
}

try {
  await local()
  await remote()
} finally {
  await sandbox.kill()
}
console.log(JSON.stringify(found))
