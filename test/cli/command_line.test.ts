import assert from 'node:assert/strict';
import { suite } from 'uvu';
import packageJson from '../../package.json' with { type: 'json' };
import { commandNames, loadAllCommands } from '../../src/cli/commands.ts';
import { exitOf, OLD_NODE, sluice, startSluice } from './sluice.ts';

const commandLine = suite('command line');

for (const args of [[], ['--help'], ['-h'], ['help'], ['help', '--help']]) {
  commandLine(`sluice ${args.join(' ')} lists every command and the exit codes`, async () => {
    const { code, stdout, stderr } = await sluice(args);
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
    for (const name of commandNames) assert.match(stdout, new RegExp(`^  ${name} +\\S`, 'm'));
    assert.match(stdout, /^ {2}78 +\S/m);
  });
}

commandLine('every command is listed under its own name', async () => {
  const commands = await loadAllCommands();
  assert.deepEqual(
    commands.map(({ name }) => name),
    commandNames,
  );
});

for (const name of commandNames) {
  commandLine(`help of ${name} lists its options, however it is asked for`, async () => {
    const answers = await Promise.all([sluice(['help', name]), sluice([name, '--help']), sluice([name, '-h'])]);
    const command = (await loadAllCommands()).find((candidate) => candidate.name === name);
    for (const { code, stdout, stderr } of answers) {
      assert.deepEqual({ code, stderr, stdout }, { code: 0, stderr: '', stdout: answers[0].stdout });
    }
    for (const option of Object.keys(command?.options ?? {}))
      assert.match(answers[0].stdout, new RegExp(`--${option}\\b`));
  });
}

commandLine('--version prints the version, alone and after a command', async () => {
  for (const args of [['--version'], ['validate', '--version']]) {
    assert.deepEqual(await sluice(args), { code: 0, signal: null, stdout: `${packageJson.version}\n`, stderr: '' });
  }
});

const USAGE_FAULTS: readonly (readonly [args: readonly string[], line: string])[] = [
  [['valdate'], 'unknown command valdate (did you mean validate?)'],
  [['help', 'dmeo'], 'unknown command dmeo (did you mean demo?)'],
  [['xyzzy'], 'unknown command xyzzy'],
  [['--verson'], 'unknown option --verson for sluice (did you mean --version?)'],
  [['validate', '--confg', 'a.yaml'], 'unknown option --confg for sluice validate (did you mean --config?)'],
  [['components', '-j'], 'unknown option -j for sluice components'],
  [['components', 'otlp'], 'unexpected argument otlp'],
  [['help', 'run', 'up'], 'help takes the name of one command'],
  [['validate', '--config'], "Option '--config <value>' argument missing"],
  [['components', '--json=yes'], "Option '--json' does not take an argument"],
];

for (const [args, line] of USAGE_FAULTS) {
  commandLine(`sluice ${args.join(' ')} is a usage error`, async () => {
    const { code, stdout, stderr } = await sluice(args);
    assert.deepEqual({ code, stdout, stderr }, { code: 2, stdout: '', stderr: `sluice: ${line}; see sluice --help\n` });
  });
}

commandLine('a reader that goes away is no failure', async () => {
  const child = startSluice(['components']);
  child.stdout.destroy();
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const ended = await exitOf(child);
  assert.deepEqual({ ...ended, stderr }, { code: 0, signal: null, stderr: '' });
});

commandLine('an older Node hands over to the one that is installed with us', async () => {
  const { code, stdout, stderr } = await sluice(['xyzzy'], { nodeOptions: [OLD_NODE] });
  const installed = process.platform === 'linux';
  assert.equal(stdout, '');
  assert.equal(code, installed ? 2 : 1);
  assert.match(stderr, installed ? /^sluice: unknown command xyzzy;[^\n]*\n$/ : /^sluice: needs Node 24[^\n]*\n$/);
});

commandLine.run();
