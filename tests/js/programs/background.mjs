// Builds in the background, follows the status to its end, and deletes what was built.
import { Sandbox, Template } from 'e2b'

const [name] = process.argv.slice(2)
const template = Template().fromTemplate('base').runCmd(`for n in $(seq 250); do echo line $n; done # ${name}`)
const before = await Template.exists(name)
const info = await Template.buildInBackground(template, name)
const lines = []
const states = new Set()
let status
do {
  status = await Template.getBuildStatus(info, { logsOffset: lines.length })
  states.add(status.status)
  lines.push(...status.logEntries.map((entry) => entry.message))
} while (['building', 'waiting'].includes(status.status) || status.logEntries.length)
const after = await Template.exists(name)
const deleted = [await Sandbox.deleteSnapshot(info.templateId), await Sandbox.deleteSnapshot(info.templateId)]
console.log(
  JSON.stringify({ before, after, deleted, left: await Template.exists(name), states: [...states], lines })
)
