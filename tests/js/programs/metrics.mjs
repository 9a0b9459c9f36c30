// What a sandbox uses, by an instance and by its id, until there are two measurements.
import { Sandbox } from "e2b";

const sandbox = await Sandbox.create({ timeoutMs: 300_000 });
try {
  let found = [];
  while (found.length < 2) {
    await new Promise((resolve) => setTimeout(resolve, 300));
    found = await sandbox.getMetrics();
  }
  const start = found[1].timestamp;
  const later = await Sandbox.getMetrics(sandbox.sandboxId, { start });
  const earlier = await Sandbox.getMetrics(sandbox.sandboxId, { end: found[0].timestamp });
  console.log(JSON.stringify({ first: found[0], second: found[1], later, earlier }));
} finally {
  await sandbox.kill();
}
