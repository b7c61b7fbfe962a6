# Node runs the TypeScript sources as they are: nothing to build. The database is yours, so neither the embedded
# PostgreSQL nor the pinned Node, which are the optional dependencies, are in the image.
FROM node:24-slim

WORKDIR /opt/sluice
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --omit=optional && npm cache clean --force
COPY LICENSE ./
COPY bin bin
COPY config config
COPY migrations migrations
COPY src src

RUN install -d /etc/sluice \
 && cp config/gateway.yaml /etc/sluice/gateway.yaml \
 && install -d -o node -g node /var/lib/sluice

# Inside a container, loopback would reach nobody. DATABASE_URL has to be given, and a configuration that turns
# authentication on (or, on a network of your own, SLUICE_ALLOW_UNAUTHENTICATED=true): without, Sluice does not start.
ENV NODE_ENV=production \
    SLUICE_DATA_DIR=/var/lib/sluice \
    SLUICE_OTLP_GRPC_ENDPOINT=0.0.0.0:4317 \
    SLUICE_OTLP_HTTP_ENDPOINT=0.0.0.0:4318 \
    SLUICE_METRICS_ENDPOINT=0.0.0.0:8888 \
    SLUICE_QUERY_ENDPOINT=0.0.0.0:16686

EXPOSE 4317 4318 8888 16686
VOLUME /var/lib/sluice
USER node
STOPSIGNAL SIGTERM
ENTRYPOINT ["node", "/opt/sluice/bin/sluice.js"]
CMD ["run", "--config", "/etc/sluice/gateway.yaml"]
