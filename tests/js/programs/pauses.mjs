// Pauses a sandbox in both ways, resumes it, and lets a request wake another.
import { Sandbox } from 'e2b'

const bootId = 'cat /proc/sys/kernel/random/boot_id'
const said = async (sandbox, command) => (await sandbox.commands.run(command)).stdout.trim()

const sandbox = await Sandbox.create({ timeoutMs: 60_000 })
const sleeper = await Sandbox.create({ lifecycle: { onTimeout: 'pause', autoResume: true } })
try {
  const boot = await said(sandbox, bootId)
  const paused = [await sandbox.pause(), await Sandbox.pause(sandbox.sandboxId)]
  const running = await sandbox.isRunning()
  const state = (await sandbox.getInfo()).state
  await sandbox.connect({ timeoutMs: 60_000 })
  const same = (await said(sandbox, bootId)) === boot
  await sandbox.pause({ keepMemory: false })
  const again = await Sandbox.connect(sandbox.sandboxId, { timeoutMs: 60_000 })
  const rebooted = (await said(again, bootId)) !== boot
  const lifecycle = (await sleeper.getInfo()).lifecycle
  await sleeper.pause()
  const woken = await said(sleeper, 'echo awake')
  console.log(JSON.stringify({ paused, running, state, same, rebooted, lifecycle, woken }))
} finally {
  await sandbox.kill()
  await sleeper.kill()
}
