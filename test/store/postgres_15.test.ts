import { suite } from 'uvu';
import { startPostgres15 } from './other_servers.ts';
import { DELIVERY_TESTS, passOn } from './run_on.ts';

const Oldest = suite('PostgreSQL 15');

Oldest('passes the tests of storing and delivery', async () => {
  const server = await startPostgres15();
  if (server === undefined) {
    console.log('SKIP PostgreSQL 15 is not installed');
    return;
  }
  try {
    await passOn(server.url, [...DELIVERY_TESTS, 'test/store/migrate.test.ts', 'test/store/partitions.test.ts']);
  } finally {
    await server.stop();
  }
});

Oldest.run();
