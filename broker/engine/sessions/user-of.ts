/** The user of `{user}/{clientId}`; client ids may contain a slash, user ids do not. */
export function userOf (session: string): string { return session.slice(0, session.indexOf('/')) }
