// Builds a template with every kind of step from the directory given, and starts a sandbox from it.
import { Sandbox, Template, waitForFile } from 'e2b'

const [name, context] = process.argv.slice(2)
const template = Template({ fileContextPath: context, fileIgnorePatterns: ['*.log'] })
  .fromBaseImage()
  .setEnvs({ COLOR: 'green' })
  .setEnvs({ BOTH: '$COLOR-blue' })
  .setWorkdir('/opt/app')
  .copy('src/', 'src/', { mode: 0o750, user: 'user:root' })
  .copyItems([{ src: '*.txt', dest: '/opt/texts/' }])
  .setUser('root')
  .runCmd(['id -un > /opt/who', 'pwd >> /opt/who'])
  .setUser('user')
  .makeDir('/home/user/made')
  .makeSymlink('/opt/who', '/home/user/made/link')
  .setStartCmd('touch /tmp/started; sleep infinity', waitForFile('/tmp/started'))

const logs = []
const built = await Template.build(template, name, {
  tags: ['extra'],
  cpuCount: 1,
  memoryMB: 512,
  onBuildLogs: (entry) => logs.push({ level: entry.level, message: entry.message }),
})

const sandbox = await Sandbox.create(`${built.name}:extra`)
try {
  const shown = await sandbox.commands.run(
    'cat /opt/who; echo $COLOR $BOTH; pwd; id -un; ls /opt/texts; stat -c "%U:%G %a" /opt/app/src/deep/file; ' +
      'cat /opt/app/src/deep/file; readlink /home/user/made/link; ls /tmp/started; pgrep -f "sleep infinit[y]" | wc -l'
  )
  const info = await sandbox.getInfo()
  console.log(JSON.stringify({ built, logs, output: shown.stdout, cpu: info.cpuCount, memory: info.memoryMB }))
} finally {
  await sandbox.kill()
}
