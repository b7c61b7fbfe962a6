/** Builds an authenticator from its section as a configuration file would hold it, with a log that tests can read. */
import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import type { Authenticator, Component, ExtensionFactory } from '../../src/component.ts';
import { createLogger } from '../../src/telemetry/logger.ts';
import { testSettings } from '../support/settings.ts';

interface KnowingAuthenticator extends Authenticator {
  isKnown(token: string): boolean;
}

export interface Built {
  readonly authenticator: KnowingAuthenticator;
  /** Everything that was logged, one JSON object a line. */
  readonly log: () => string;
}

export function build<C>(factory: ExtensionFactory<C>, section: unknown): Built {
  const lines: string[] = [];
  const destination = new Writable({
    write(chunk, _encoding, done) {
      lines.push(String(chunk));
      done();
    },
  });
  const logger = createLogger('debug', destination);
  const authenticator = factory.create(factory.config.parse(section), testSettings(factory.type, logger));
  assert(isAuthenticator(authenticator));
  return { authenticator, log: () => lines.join('') };
}

function isAuthenticator(component: Component): component is KnowingAuthenticator {
  return 'authenticate' in component && 'isKnown' in component;
}
