// Gives tags to a build, lists them and takes them away.
import { Template } from 'e2b'

const [name] = process.argv.slice(2)
const first = await Template.build(Template().fromTemplate('base').runCmd('echo 1 > /tmp/n'), `${name}:one`)
const second = await Template.build(Template().fromTemplate('base').runCmd('echo 2 > /tmp/n'), name, { tags: ['two'] })
const assigned = await Template.assignTags(`${name}:one`, ['stable', 'v1.0.0'])
await Template.assignTags(`${name}:two`, 'stable')
const listed = await Template.getTags(name)
await Template.removeTags(name, ['one', 'stable'])
const left = await Template.getTags(first.templateId)
const failures = []
for (const attempt of [
  () => Template.assignTags(`${name}:none`, ['x']),
  () => Template.assignTags(`${name}:two`, ['Not a tag']),
  () => Template.removeTags('no-such-template', ['x']),
  () => Template.getTags('no-such-template'),
]) {
  failures.push(await attempt().then(String, (error) => `${error.name}: ${error.message}`))
}
console.log(
  JSON.stringify({
    first,
    second,
    assigned,
    listed: listed.map((tag) => [tag.tag, tag.buildId, tag.createdAt instanceof Date]),
    left: left.map((tag) => tag.tag),
    failures,
  })
)
