# syntax=docker/dockerfile:1
# Debian rather than Alpine: LevelDB's binding has no binary for musl on ARM.
# The server. Build: docker build -t sabethes .   Run with a store of its own: docker run -p 1883:1883 -v sabethes:/data sabethes

FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts
COPY . .
RUN npm run -s build

FROM node:24-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
# The native modules bring binaries for this platform: nothing is compiled, no script has to run.
RUN npm ci --omit=dev --ignore-scripts && npm cache clean --force

FROM node:24-bookworm-slim
# Listening on all addresses of the container needs accounts: dev mode is refused there.
ENV NODE_ENV=production \
    SABETHES_STORE__PATH=/data \
    SABETHES_MQTT__TCP__HOST=0.0.0.0 \
    SABETHES_HTTP__HOST=0.0.0.0 \
    SABETHES_AUTH__MODE=password
WORKDIR /app
RUN install -d -o node -g node -m 0700 /data
COPY --from=dependencies /app/node_modules ./node_modules
COPY package.json LICENSE ./
COPY config ./config
COPY --from=build /app/dist/broker ./dist/broker
COPY --from=build /app/dist/plugins ./dist/plugins
USER node
VOLUME /data
EXPOSE 1883 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:8080/readyz').then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
# Exec form: the server is process 1 and gets the signals itself.
ENTRYPOINT ["node", "dist/broker/main.js"]
CMD ["serve"]
