# The image of CC Executor: the built program, Node, git and the pinned `claude`, for a user who is not root.
#
# Claude Code is installed from npm at build time. Its licence forbids redistribution, so an image built from this file is
# for whoever built it: never push it to a public registry.
#
# Where no image registry can be reached, deployment/base-images.sh makes the base images first.
ARG NODE_IMAGE=node:24-trixie-slim
ARG BASE_IMAGE=debian:trixie-slim

# Everything that npm installs, with what an inspecting proxy needs to be believed.
FROM ${NODE_IMAGE} AS npm
# A folder of the build context with further certificate authorities (*.crt, PEM).
ARG EXTRA_CERTIFICATES=deployment/certificates
ARG NPM_CONFIG_REGISTRY
WORKDIR /build
COPY ${EXTRA_CERTIFICATES}/ /extra-certificates/
RUN printf '%s\n' '#!/bin/sh' \
  'sed -s "\$a\\" /extra-certificates/*.crt $NODE_EXTRA_CA_CERTS >/tmp/authorities.pem 2>/dev/null' \
  '[ ! -s /tmp/authorities.pem ] || export NODE_EXTRA_CA_CERTS=/tmp/authorities.pem' \
  'exec npm "$@"' >/usr/local/bin/npm-here && chmod 0755 /usr/local/bin/npm-here
COPY package.json package-lock.json ./

# The bill of materials is of what is installed here, so the packages of development must not be missed in it.
# No install scripts: `claude` is used from its platform package, and the copy that its wrapper would make weighs 380 MB.
FROM npm AS dependencies
RUN npm-here ci --omit=dev --ignore-scripts --no-audit --no-fund \
 && npm pkg delete devDependencies \
 && npm sbom --sbom-format spdx --omit dev >sbom.spdx.json \
 && chmod -R a+rX,go-w node_modules \
 && find node_modules -type f \( -name '*.map' -o -name '*.ts' -o -name '*.cts' -o -name '*.mts' -o -iname 'readme*' \
    -o -iname 'changelog*' -o -iname 'history.md' \) -delete \
 && find node_modules -type d \( -name test -o -name tests -o -name docs -o -name examples -o -name benchmarks \
    -o -name .github \) -prune -exec rm -rf {} +

# The compiler and its types; the programs that other development packages bring along are not needed.
FROM npm AS build
RUN npm-here ci --omit=optional --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY scripts/copy-assets.ts scripts/
COPY src src
RUN npm run --silent build && find dist -name '*.d.ts' -delete -o -name '*.map' -delete

FROM ${BASE_IMAGE}
ARG EXTRA_CERTIFICATES=deployment/certificates
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="CC Executor" \
  org.opencontainers.image.description="Self-hosted execution service for Claude Code" \
  org.opencontainers.image.version="${VERSION}" \
  org.opencontainers.image.revision="${REVISION}" \
  org.opencontainers.image.licenses="MIT AND LicenseRef-Anthropic-Claude-Code" \
  org.opencontainers.image.base.name="${BASE_IMAGE}"
COPY ${EXTRA_CERTIFICATES}/ /usr/local/share/ca-certificates/
# perl-base, which the launcher needs, is part of every Debian; bubblewrap and socat are for boxes of level L3. A program that may be executed but not read (0711) keeps its
# environment and memory from others of the same user: tini and node see the operator's credential, and runs must not.
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    bubblewrap ca-certificates git libatomic1 libstdc++6 perl-base socat tini \
 && update-ca-certificates \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/* /usr/share/doc/*/changelog* \
 && chmod 0711 /usr/bin/tini \
 && find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
 && groupadd --gid 10001 executor \
 && useradd --uid 10001 --gid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin executor \
 && install --directory --owner 10001 --group 10001 --mode 0711 /data \
 && ln -s /app/dist/bin/cli.js /usr/local/bin/cc-executor
COPY --from=npm --chmod=0711 /usr/local/bin/node /usr/local/bin/node
WORKDIR /app
COPY --from=dependencies /build/node_modules node_modules
COPY --from=dependencies /build/sbom.spdx.json ./
COPY --from=build /build/dist dist
COPY package.json LICENSE ./

ENV NODE_ENV=production CC_DATA_DIR=/data CC_HOST=0.0.0.0
USER 10001:10001
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.CC_PORT || 8000}/health/live`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
# -s: it reaps what has lost its parent also where the engine puts an init of its own in front.
ENTRYPOINT ["tini", "-s", "--", "cc-executor"]
CMD ["serve"]
