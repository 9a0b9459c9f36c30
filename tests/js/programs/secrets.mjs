// Makes, updates, lists and destroys a secret; prints what each call gave.
import { Secret, SecretNotFoundError } from 'e2b'

const [name, value] = process.argv.slice(2)
const made = await Secret.create(name, value, { metadata: { of: 'us' } })
const updated = await Secret.update(name, 'new')
const found = await Secret.getInfo(made.secretId)
const names = (await Secret.list().nextItems()).map((secret) => secret.name)
const destroyed = [await Secret.destroy(name), await Secret.destroy(name)]
const refused = await Secret.getInfo(name).catch((error) => error instanceof SecretNotFoundError)
console.log(JSON.stringify({ made, updated, found, names, destroyed, refused }))
