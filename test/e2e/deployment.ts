/** A configuration file of ours at work: gateway and query API as `sluice up` runs them, on ports and a database of their own. */
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildGateway } from '../../src/cli/gateway.ts';
import { startDisabledQuery, startQuery } from '../../src/cli/query.ts';
import type { Environment } from '../../src/config/environment.ts';
import type { Scope } from '../../src/model/identity.ts';
import { generateToken, hashToken, tokenPrefix } from '../../src/model/token.ts';
import { tokenStore, type TokenStore } from '../../src/store/tokens.ts';
import { createLogger } from '../../src/telemetry/logger.ts';
import { freePort } from '../support/gateway.ts';
import { testDatabase, type TestDatabase } from '../support/postgres.ts';

export interface Deployment {
  /** Base URLs without a slash at the end. */
  readonly otlpUrl: string;
  readonly queryUrl: string;
  readonly database: TestDatabase;
  close(): Promise<void>;
}

const ANY_PORT = { host: '127.0.0.1', port: 0 };

/** @param file in `config/` */
export async function deploy(file: string, env: Environment): Promise<Deployment> {
  const database = await testDatabase();
  const dataDir = await mkdtemp(path.join(os.tmpdir(), 'sluice-deployment-'));
  const remove = async () => {
    await database.close();
    await rm(dataDir, { recursive: true });
  };
  try {
    return await start(file, { ...env, SLUICE_DATA_DIR: dataDir }, database, remove);
  } catch (error) {
    await remove();
    throw error;
  }
}

async function start(
  file: string,
  env: Environment,
  database: TestDatabase,
  remove: () => Promise<void>,
): Promise<Deployment> {
  const port = await freePort();
  const gateway = await buildGateway({
    files: [fileURLToPath(new URL(`../../config/${file}`, import.meta.url))],
    sets: ['service.telemetry.logs.level=error', 'service.telemetry.metrics.address=127.0.0.1:0'],
    env: {
      ...env,
      DATABASE_URL: database.url,
      SLUICE_OTLP_HTTP_ENDPOINT: `127.0.0.1:${port}`,
      SLUICE_OTLP_GRPC_ENDPOINT: '127.0.0.1:0',
      SLUICE_HEALTH_ENDPOINT: '127.0.0.1:0',
    },
  });
  await gateway.start();
  const logger = createLogger('error');
  const { queryAuthenticator: authenticator, config } = gateway;
  const query = config.service.enabled
    ? await startQuery({ endpoint: ANY_PORT, databaseUrl: database.url, authenticator, logger })
    : await startDisabledQuery(ANY_PORT, logger);
  return {
    otlpUrl: `http://127.0.0.1:${port}`,
    queryUrl: `http://${query.address}`,
    database,
    async close() {
      await query.shutdown();
      await gateway.shutdown();
      await remove();
    },
  };
}

interface TokenOptions {
  readonly scopes: readonly Scope[];
  readonly orgId?: string;
  readonly expiresAt?: Date;
}

/** Issues tokens as `sluice token create` does. */
export class Issuer {
  readonly #store: TokenStore;

  constructor({ pool }: TestDatabase) {
    this.#store = tokenStore(pool);
  }

  async token(options: TokenOptions): Promise<string> {
    return (await this.#issue(options)).token;
  }

  async revokedToken(options: TokenOptions): Promise<string> {
    const { token, id } = await this.#issue(options);
    await this.#store.revoke(id);
    return token;
  }

  async #issue({ scopes, orgId = 'acme', expiresAt }: TokenOptions): Promise<{ token: string; id: string }> {
    const token = generateToken('ak');
    const tenant = { orgId, workspaceId: 'web', targetId: undefined };
    const issued = { hash: hashToken(token), prefix: tokenPrefix(token), name: '', tenant, scopes, expiresAt };
    const { id } = await this.#store.create(issued);
    return { token, id };
  }
}
