// Reaches ports by their names; public, private, and the agent's with signed links.
import { Sandbox } from 'e2b'

const scheme = process.argv[2]
const python = `
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = (self.headers["Host"] + self.path).encode()
        self.send_response(200); self.send_header("Content-Length", len(body)); self.end_headers()
        self.wfile.write(body)
server = http.server.HTTPServer(("", 8000), Handler)
print("ready", flush=True)
server.serve_forever()
`
const started = 'python3 server.py > out & until grep -q ready out; do :; done'
const seen = {}
for (const [name, network] of [['open', {}], ['private', { allowPublicTraffic: false, maskRequestHost: 'app-${PORT}' }]]) {
  const sandbox = await Sandbox.create({ network, timeoutMs: 120_000 })
  await sandbox.files.write('server.py', python)
  await sandbox.commands.run(started)
  const url = `${scheme}://${sandbox.getHost(8000)}/a`
  const token = sandbox.trafficAccessToken
  const headers = token ? { 'e2b-traffic-access-token': token } : {}
  const link = await sandbox.downloadUrl('server.py', { useSignatureExpiration: 60 })
  const over = await sandbox.downloadUrl('server.py', { useSignatureExpiration: -60 })
  const form = new FormData()
  form.append('file', new Blob(['sent']), 'sent')
  const upload = await sandbox.uploadUrl('sent.txt', { useSignatureExpiration: 60 })
  seen[name] = {
    id: sandbox.sandboxId,
    bare: (await fetch(url)).status,
    answer: await (await fetch(url, { headers })).text(),
    link: (await (await fetch(link)).text()) === python,
    over: (await fetch(over)).status,
    uploaded: (await fetch(upload, { method: 'POST', body: form })).status,
    sent: await sandbox.files.read('sent.txt'),
    network: (await sandbox.getInfo()).network,
  }
  await sandbox.kill()
}
console.log(JSON.stringify(seen))
