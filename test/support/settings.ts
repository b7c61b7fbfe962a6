/** What the builder lends to a component, for tests that build one by itself. */
import type { Admission, Logger, Settings } from '../../src/component.ts';
import { ConfigError } from '../../src/errors.ts';

const ignore = (): void => undefined;

export const SILENT: Logger = { debug: ignore, info: ignore, warn: ignore, error: ignore };

/** Lets everything in. */
export const BOUNDLESS: Admission = { admit: () => ({ grow: ignore, release: ignore }) };

export function testSettings(id: string, logger: Logger = SILENT): Settings {
  return {
    id,
    logger,
    authenticator: (wanted) => {
      throw new ConfigError([{ path: 'auth.authenticator', message: `found "${wanted}"; there is none` }]);
    },
    shared: (_key, make) => make(),
    admission: BOUNDLESS,
    health: () => ({ unready: [], stuck: [] }),
  };
}
