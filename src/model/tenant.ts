/** Whose data it is. Comes from the credential alone, never from what a client wrote into a header or an attribute. */
export interface Tenant {
  readonly orgId: string;
  readonly workspaceId: string;
  readonly targetId: string | undefined;
}

/** The tenant of everything that arrives where no authenticator is configured. */
export const DEFAULT_TENANT: Tenant = { orgId: 'default', workspaceId: 'default', targetId: undefined };
