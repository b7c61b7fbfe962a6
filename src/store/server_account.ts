/**
 * The account that runs the embedded PostgreSQL, which refuses to run as root and insists on owning its data. An
 * ordinary user runs it as itself. Root needs one of several ways out, of which none works everywhere: containers
 * forbid user namespaces, and an unprivileged user cannot pass through folders that only root may enter.
 */
import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import { once } from 'node:events';
import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { PermanentError } from '../errors.ts';

export interface ServerAccount {
  /** Who owns the server's files on disk. */
  readonly uid: number;
  readonly gid: number;
  /** Starts a program in a session of its own, so that the terminal's Ctrl-C does not reach it. */
  spawn(program: string, args: readonly string[], stdio: StdioOptions): ChildProcess;
}

interface Identity {
  readonly uid: number;
  readonly gid: number;
}

/** One way to run as somebody else: a command that runs the command after it, or what `spawn` itself can do. */
interface Disguise extends Identity {
  readonly prefix: readonly string[];
  readonly spawnAs?: Identity;
}

/** Nothing of our own environment is the server's business: it may hold secrets, and variables that change the server. */
const ENVIRONMENT = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C', TZ: 'UTC' };

/**
 * Exits with 0 where the account has a name, may write to the folder, and can run PostgreSQL, which initdb finds out by
 * its own rules: to them a capability is no permission.
 */
const PROBE = 'id -un && test -w "$1" && "$2" --version && exec "${2%postgres}initdb" --show -D "$1/postgres"';

/**
 * Finds a way to run `postgres` on data inside `directory`, which exists. Rejects with PermanentError, saying why each
 * way failed, when there is none.
 */
export async function findServerAccount(postgres: string, directory: string): Promise<ServerAccount> {
  const failures: string[] = [];
  for (const disguise of await disguises(directory)) {
    const account = accountOf(disguise);
    const failure = await probe(account, postgres, directory);
    if (failure === undefined) return account;
    failures.push(`${disguise.prefix[0] ?? `user ${disguise.uid}`}: ${failure}`);
  }
  throw new PermanentError(
    `the embedded PostgreSQL cannot run here (${failures.join('; ')}): ` +
      'start Sluice as an ordinary user that owns its folder, or set DATABASE_URL to a server of yours',
  );
}

async function disguises(directory: string): Promise<Disguise[]> {
  const self = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  const nobody = await unprivilegedIdentity();
  // The kernel still sees the caller, so the files stay the caller's.
  const renamed: Disguise = {
    ...self,
    prefix: ['unshare', '--user', `--map-user=${nobody.uid}`, `--map-group=${nobody.gid}`, '--'],
  };
  if (self.uid !== 0) return [{ ...self, prefix: [] }, renamed];
  const owner = await stat(directory);
  if (owner.uid === 0) return [renamed, privileged(nobody)];
  const asOwner = { uid: owner.uid, gid: owner.gid };
  return [{ ...asOwner, prefix: [], spawnAs: asOwner }, privileged(asOwner)];
}

/** Another user that may still enter the folders of root. */
function privileged({ uid, gid }: Identity): Disguise {
  const capability = ['--inh-caps=+dac_override', '--ambient-caps=+dac_override'];
  return { uid, gid, prefix: ['setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', ...capability, '--'] };
}

/** A user of this machine without rights: `nobody` where it exists under a positive number, else the first but root. */
async function unprivilegedIdentity(): Promise<Identity> {
  const users = (await readFile('/etc/passwd', 'utf8'))
    .split('\n')
    .map((line) => line.split(':'))
    .map(([name, , uid, gid]) => ({ name, uid: Number(uid), gid: Number(gid) }))
    .filter(({ uid, gid }) => uid > 0 && gid > 0);
  const chosen = users.find(({ name }) => name === 'nobody') ?? users[0];
  return chosen === undefined ? { uid: 65_534, gid: 65_534 } : { uid: chosen.uid, gid: chosen.gid };
}

function accountOf({ uid, gid, prefix, spawnAs }: Disguise): ServerAccount {
  return {
    uid,
    gid,
    spawn(program, args, stdio) {
      const [command = program, ...rest] = [...prefix, program, ...args];
      return spawn(command, rest, { stdio, detached: true, cwd: '/', env: ENVIRONMENT, ...spawnAs });
    },
  };
}

/** What stands in the way, or undefined. */
async function probe(account: ServerAccount, postgres: string, directory: string): Promise<string | undefined> {
  const child = account.spawn('sh', ['-c', PROBE, 'sh', directory, postgres], ['ignore', 'ignore', 'pipe']);
  try {
    const [complaint] = await Promise.all([child.stderr === null ? '' : text(child.stderr), once(child, 'close')]);
    if (child.exitCode === 0) return undefined;
    return complaint.trim().split('\n')[0] || `no access to ${path.dirname(postgres)} and ${directory}`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
