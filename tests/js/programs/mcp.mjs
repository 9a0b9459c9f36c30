// Sandboxes with an MCP gateway: one that starts, and one that does not.
import { Sandbox } from 'e2b'
import { failures } from './attempts.mjs'

const mcp = { time: {}, github: { token: 'it\'s "quoted" $HOME' } }
const sandbox = await Sandbox.create({ mcp, timeoutMs: 60_000 })
try {
  const token = await sandbox.getMcpToken()
  const again = await Sandbox.connect(sandbox.sandboxId)
  console.log(
    JSON.stringify({
      token: token.length,
      same: (await again.getMcpToken()) === token,
      url: sandbox.getMcpUrl() === `https://${sandbox.getHost(50005)}/mcp`,
      config: JSON.parse((await sandbox.commands.run('curl --silent http://127.0.0.1:50005/mcp')).stdout),
      failures: await failures({ broken: () => Sandbox.create({ mcp: { broken: {} }, timeoutMs: 60_000 }) }),
    })
  )
} finally {
  await sandbox.kill()
}
