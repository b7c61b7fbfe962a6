/** `sluice token create`, `list` and `revoke`: the bearer tokens that the `ingest_tokens` extension accepts. */
import { parseDuration } from '../config/duration.ts';
import { unknownName } from '../config/suggest.ts';
import { SCOPES, type Scope } from '../model/identity.ts';
import type { Tenant } from '../model/tenant.ts';
import {
  generateToken,
  hashToken,
  isTenantId,
  scopeOf,
  TENANT_ID_FORM,
  tokenKind,
  tokenPrefix,
} from '../model/token.ts';
import { tokenStore, type TokenRow, type TokenStore } from '../store/tokens.ts';
import { EXIT, UsageError, type Command, type CommandContext, type CommandOption } from './command.ts';
import { DATABASE_OPTIONS, databaseUrl, withDatabase } from './database.ts';

const DAY_MS = 86_400_000;
const MAX_LIFE_DAYS = 36_500;
const MAX_LISTED = 10_000;
const MAX_NAME_CHARS = 200;

const JSON_OPTION = { type: 'boolean', describe: 'Print JSON.' } as const satisfies CommandOption;

export const tokenCreate: Command = {
  name: 'token create',
  summary: 'Make a bearer token and print it, this once.',
  options: {
    org: { type: 'string', value: 'ID', describe: 'Organisation that the token stands for; required.' },
    workspace: { type: 'string', value: 'ID', describe: 'Workspace that the token stands for; required.' },
    target: { type: 'string', value: 'ID', describe: 'Target that the token stands for.' },
    scopes: {
      type: 'string',
      value: 'LIST',
      describe: `What it allows, with commas between: ${SCOPES.join(', ')}. Default: ingest.`,
    },
    name: { type: 'string', value: 'TEXT', describe: 'What people call it.' },
    expires: {
      type: 'string',
      value: 'TIME',
      describe: 'How long it is valid, such as 90d or 12h. Default: for ever.',
    },
    json: JSON_OPTION,
    ...DATABASE_OPTIONS,
  },
  async run(context) {
    const tenant = tenantOf(context);
    const scopes = scopesOf(textOf(context, 'scopes') ?? 'ingest');
    const name = nameOf(textOf(context, 'name') ?? '');
    const expiresAt = expiryOf(textOf(context, 'expires'));
    const token = generateToken(tokenKind(scopes));
    const issued = { hash: hashToken(token), prefix: tokenPrefix(token), name, tenant, scopes, expiresAt };
    const row = await withStore(context, (store) => store.create(issued));
    for (const line of isJson(context) ? [toJson({ token, ...row })] : createdText(token, row)) context.print(line);
    return EXIT.ok;
  },
};

export const tokenList: Command = {
  name: 'token list',
  summary: 'List the bearer tokens, the newest first.',
  options: { json: JSON_OPTION, ...DATABASE_OPTIONS },
  async run(context) {
    const rows = await withStore(context, (store) => store.list(MAX_LISTED));
    for (const line of isJson(context) ? [toJson(rows)] : listText(rows)) context.print(line);
    return EXIT.ok;
  },
};

export const tokenRevoke: Command = {
  name: 'token revoke',
  summary: 'Revoke a bearer token; running gateways refuse it from then on.',
  operands: ['ID'],
  options: { json: JSON_OPTION, ...DATABASE_OPTIONS },
  async run(context) {
    const id = textOf(context, 'ID') ?? '';
    if (!UUID.test(id)) throw new UsageError('the ID of a token is a UUID, as `sluice token list` prints it');
    const row = await withStore(context, (store) => store.revoke(id));
    if (row === undefined) throw new Error(`there is no token with the id ${id}`);
    context.print(isJson(context) ? toJson(row) : `revoked ${row.id}  ${row.prefix}…  ${row.name}`.trimEnd());
    return EXIT.ok;
  },
};

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

async function withStore<T>(context: CommandContext, work: (store: TokenStore) => Promise<T>): Promise<T> {
  const url = await databaseUrl(context);
  return withDatabase({ url, applicationName: 'sluice token' }, (pool) => work(tokenStore(pool)));
}

function tenantOf(context: CommandContext): Tenant {
  const [orgId, workspaceId, targetId] = ['org', 'workspace', 'target'].map((option) => {
    const id = textOf(context, option);
    if (id !== undefined && !isTenantId(id)) throw new UsageError(`--${option} must be ${TENANT_ID_FORM}`);
    return id;
  });
  if (orgId === undefined || workspaceId === undefined) {
    throw new UsageError('token create needs --org and --workspace');
  }
  return { orgId, workspaceId, targetId };
}

function scopesOf(list: string): Scope[] {
  const scopes = list.split(',').map((part) => {
    const scope = scopeOf(part.trim());
    if (scope === undefined) throw new UsageError(unknownName('scope', part.trim(), SCOPES));
    return scope;
  });
  return [...new Set(scopes)];
}

function nameOf(text: string): string {
  if (text.length <= MAX_NAME_CHARS && !/\p{Cc}/u.test(text)) return text;
  throw new UsageError(`--name must be at most ${MAX_NAME_CHARS} characters on one line`);
}

function expiryOf(text: string | undefined): Date | undefined {
  if (text === undefined) return undefined;
  const days = /^(\d{1,5})d$/.exec(text)?.[1];
  const lifeMs = days === undefined ? parseDuration(text) : Number(days) * DAY_MS;
  if (lifeMs === undefined || lifeMs < 1 || lifeMs > MAX_LIFE_DAYS * DAY_MS) {
    throw new UsageError(`--expires must be a time such as 90d or 12h, at most ${MAX_LIFE_DAYS}d`);
  }
  return new Date(Date.now() + lifeMs);
}

function createdText(token: string, row: TokenRow): string[] {
  return [
    `token    ${token}`,
    `id       ${row.id}`,
    `tenant   ${tenantText(row)}`,
    `scopes   ${row.scopes.join(', ')}`,
    `expires  ${timeText(row.expires_at)}`,
    'Keep the token now: only its hash is stored, so nobody can print it again.',
  ];
}

const HEAD = ['ID', 'TOKEN', 'STATE', 'TENANT', 'SCOPES', 'CREATED', 'EXPIRES', 'LAST USED', 'NAME'];

function listText(rows: readonly TokenRow[]): string[] {
  if (rows.length === 0) return ['there are no tokens'];
  const now = new Date();
  const lines = table([HEAD, ...rows.map((row) => cells(row, now))]);
  return rows.length < MAX_LISTED ? lines : [...lines, `these are the newest ${MAX_LISTED}; there may be more`];
}

function cells(row: TokenRow, now: Date): string[] {
  return [
    row.id,
    `${row.prefix}…`,
    stateOf(row, now),
    tenantText(row),
    row.scopes.join(','),
    timeText(row.created_at),
    timeText(row.expires_at),
    timeText(row.last_used_at),
    row.name,
  ];
}

function stateOf({ revoked_at, expires_at }: TokenRow, now: Date): string {
  if (revoked_at !== null) return 'revoked';
  return expires_at !== null && expires_at <= now ? 'expired' : 'valid';
}

function tenantText({ org_id, workspace_id, target_id }: TokenRow): string {
  return [org_id, workspace_id, ...(target_id === null ? [] : [target_id])].join('/');
}

function timeText(time: Date | null): string {
  return time === null ? 'never' : `${time.toISOString().slice(0, 19)}Z`;
}

function table(rows: readonly (readonly string[])[]): string[] {
  const widths = HEAD.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

function textOf({ values }: CommandContext, name: string): string | undefined {
  const value = values[name];
  return typeof value === 'string' ? value : undefined;
}

const isJson = ({ values }: CommandContext): boolean => values['json'] === true;

const toJson = (value: unknown): string => JSON.stringify(value, undefined, 2);
