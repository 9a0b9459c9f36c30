// Every method and option of the modules for commands and terminals.
import { Sandbox } from 'e2b'
import { failures } from './attempts.mjs'

const sandbox = await Sandbox.create({ timeoutMs: 120_000, envs: { A: 'sandbox', B: 'sandbox' } })
const { commands, pty } = sandbox
const found = {}

const ended = (promise) =>
  promise.then(
    ({ exitCode, stdout, stderr, error }) => ({ exitCode, stdout, stderr, error: error ?? null }),
    ({ name, message, exitCode, stdout, stderr, error }) => ({ name, message, exitCode, stdout, stderr, error })
  )

try {
  const seen = { out: '', err: '' }
  found.foreground = await commands.run('echo $A $B; id -un; pwd; cat; echo bad >&2', {
    envs: { B: 'command' },
    user: 'root',
    cwd: '/usr',
    onStdout: (text) => (seen.out += text),
    onStderr: async (text) => (seen.err += text),
    timeoutMs: 30_000,
    requestTimeoutMs: 30_000,
  })
  found.seen = seen
  found.failed = await ended(commands.run('echo out; echo bad >&2; exit 7'))
  found.killed = await ended(commands.run('kill -KILL $$'))
  found.bytes = (await commands.run(String.raw`printf 'a\377\000b'`)).stdout
  found.large = (await commands.run('seq 1000000')).stdout.length

  const handle = await commands.run('read line; echo got $line; cat; exit 4', { background: true, stdin: true, timeoutMs: 0 })
  let late = ''
  const other = await commands.connect(handle.pid, { onStdout: (text) => (late += text), timeoutMs: 0, requestTimeoutMs: 30_000 })
  const left = await commands.connect(handle.pid)
  await left.disconnect()
  const [info] = await commands.list({ requestTimeoutMs: 30_000 })
  found.listed = { ...info, pid: info.pid === handle.pid }
  found.running = handle.exitCode ?? null
  await handle.sendStdin('x\n')
  await commands.sendStdin(handle.pid, new Uint8Array([0x61, 0xc3, 0xbc]), { requestTimeoutMs: 30_000 })
  found.supportsStdinClose = commands.supportsStdinClose
  await other.closeStdin()
  found.waited = await ended(handle.wait())
  found.waitedToo = await ended(other.wait())
  found.late = late
  found.handle = { exitCode: handle.exitCode, error: handle.error, stdout: handle.stdout, stderr: handle.stderr }

  const sleeping = await commands.run('exec sleep 1000', { background: true, timeoutMs: 0 })
  found.kills = [await commands.kill(sleeping.pid), await sleeping.kill(), await commands.kill(sleeping.pid)]
  found.afterKill = (await commands.list()).length
  found.signal = (await ended(sleeping.wait())).error
  const second = await commands.run('exec cat', { background: true, stdin: true })
  await second.sendStdin('y'.repeat(1 << 20))
  await commands.closeStdin(second.pid, { requestTimeoutMs: 30_000 })
  found.echoed = (await second.wait()).stdout.length

  let screen = ''
  const decoder = new TextDecoder()
  const encode = (text) => new TextEncoder().encode(text)
  const terminal = await pty.create({
    cols: 90,
    rows: 30,
    onData: (data) => (screen += decoder.decode(data, { stream: true })),
    user: 'root',
    cwd: '/usr/lib',
    envs: { MINE: 'yes' },
    timeoutMs: 0,
    requestTimeoutMs: 30_000,
  })
  await pty.sendInput(terminal.pid, encode('echo it:$(id -un):$PWD:$MINE:$TERM:$(stty size)\n'), { requestTimeoutMs: 30_000 })
  while (!screen.includes('it:root:/usr/lib:yes:xterm-256color:30 90')) await new Promise((resolve) => setTimeout(resolve, 10))
  await pty.resize(terminal.pid, { cols: 100, rows: 40 }, { requestTimeoutMs: 30_000 })
  let again = ''
  const connected = await pty.connect(terminal.pid, { onData: (data) => (again += new TextDecoder().decode(data)), timeoutMs: 0 })
  await terminal.disconnect()
  await pty.sendInput(terminal.pid, encode('echo size $(stty size); exit 3\n'))
  found.terminal = (await ended(connected.wait())).exitCode
  found.resized = again.includes('size 40 100\r\n')
  const gone = await pty.create({ cols: 80, rows: 24, onData: () => {} })
  found.terminalKills = [await pty.kill(gone.pid, { requestTimeoutMs: 30_000 }), await pty.kill(gone.pid)]

  const without = await commands.run('exec sleep 1000', { background: true, timeoutMs: 0 })
  const deaf = await commands.run('exec sleep 1000', { background: true, stdin: true, timeoutMs: 0 })
  const aborted = new AbortController()
  setTimeout(() => aborted.abort(), 200)
  found.failures = await failures({
    time: () => commands.run('exec sleep 1000', { timeoutMs: 300 }),
    requestTime: () => commands.sendStdin(deaf.pid, 'x'.repeat(4 << 20), { requestTimeoutMs: 300 }),
    aborted: () => commands.run('exec sleep 999', { signal: aborted.signal }),
    user: () => commands.run('true', { user: 'nobody-here' }),
    cwd: () => commands.run('true', { cwd: '/missing' }),
    nul: () => commands.run('true', { envs: { A: 'a\0b' } }),
    stdin: () => without.sendStdin('x'),
    connect: () => commands.connect(999999),
    sendStdin: () => commands.sendStdin(999999, 'x'),
    closeStdin: () => commands.closeStdin(999999),
    sendInput: () => pty.sendInput(999999, encode('x')),
    resize: () => pty.resize(999999, { cols: 80, rows: 24 }),
    size: () => pty.create({ cols: 70_000, rows: 24, onData: () => {} }),
    terminalUser: () => pty.create({ cols: 80, rows: 24, onData: () => {}, user: 'nobody-here' }),
    terminalTime: async () => (await pty.create({ cols: 80, rows: 24, onData: () => {}, timeoutMs: 300 })).wait(),
  })
} finally {
  await sandbox.kill()
}
console.log(JSON.stringify(found))
