/** The files of the table: one line each. topics.md has what they hold in the order of the names. */
export * from './blocks.ts'
export * from './conversation-lists.ts'
export * from './conversations.ts'
export * from './group-members.ts'
export * from './groups.ts'
export * from './messages.ts'
export * from './server.ts'
export * from './tokens.ts'
