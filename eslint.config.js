import neostandard from 'neostandard'

export default [
  ...neostandard({ ts: true, ignores: ['dist', '.build-*', '.tap', 'node_modules'] }),
  {
    files: ['**/*.ts'],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      'no-empty': ['error', { allowEmptyCatch: false }],
      'max-lines': ['error', { max: 400 }]
    }
  }
]
