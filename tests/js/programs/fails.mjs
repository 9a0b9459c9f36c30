// Builds that cannot succeed: what the SDK makes of each.
import { Template } from 'e2b'

const [name, context] = process.argv.slice(2)
const from = () => Template({ fileContextPath: context }).fromTemplate('base')
const templates = {
  command: from().runCmd('echo before; echo because >&2; exit 7'),
  user: from().runCmd('true', { user: 'nobody-knows' }),
  base: Template().fromTemplate('no-such-template'),
  copy: from().copy('a.txt', '/etc/passwd/x'),
}
const failures = {}
for (const [what, template] of Object.entries(templates)) {
  failures[what] = await Template.build(template, `${name}-${what}`).then(
    () => 'built',
    (error) => `${error.name}: ${error.message}`
  )
}
console.log(JSON.stringify(failures))
