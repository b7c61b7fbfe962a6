import { suite } from 'uvu';
import { testDatabase } from '../support/postgres.ts';
import { startPooler } from './other_servers.ts';
import { DELIVERY_TESTS, passOn } from './run_on.ts';

const Pooler = suite('a transaction pooler');

Pooler('passes the tests of storing and delivery', async () => {
  const database = await testDatabase();
  const url = new URL(database.url);
  url.pathname = '/postgres';
  const pooler = await startPooler(url.href);
  try {
    if (pooler === undefined) console.log('SKIP PgBouncer is not installed');
    else await passOn(pooler.url, DELIVERY_TESTS);
  } finally {
    await pooler?.stop();
    await database.close();
  }
});

Pooler.run();
