// Makes, lists and deletes snapshots, begins sandboxes from them, and forks.
import { Sandbox } from 'e2b'

const [name] = process.argv.slice(2)
const read = async (sandbox) => await sandbox.files.read('/home/user/file')

const sandbox = await Sandbox.create({ timeoutMs: 60_000 })
const made = [sandbox]
try {
  await sandbox.files.write('/home/user/file', 'kept')
  const snapshot = await sandbox.createSnapshot()
  const named = await Sandbox.createSnapshot(sandbox.sandboxId, { name })
  await sandbox.files.write('/home/user/file', 'later')
  const begun = await Sandbox.create(snapshot.snapshotId, { timeoutMs: 60_000 })
  made.push(begun)
  const forks = await sandbox.fork({ count: 2, timeoutMs: 60_000 })
  made.push(...forks)
  const listed = (await sandbox.listSnapshots().nextItems()).map((info) => info.snapshotId)
  const deleted = []
  for (const id of [snapshot.snapshotId, snapshot.snapshotId, named.snapshotId]) {
    deleted.push(await Sandbox.deleteSnapshot(id))
  }
  console.log(
    JSON.stringify({
      begun: await read(begun),
      forks: await Promise.all(forks.map(read)),
      names: [snapshot.names, named.names],
      listed: listed.map((id) => (id === snapshot.snapshotId ? 'unnamed' : id)),
      deleted,
    })
  )
} finally {
  for (const each of made) await each.kill()
}
