/** Compose files as people write them for a swarm. The network `public` is there already. */
export const COMPOSE_FILES: Readonly<Record<string, string>> = {
  'an agent on the network of its node': `
version: "3.8"
services:
  exporter:
    image: prom/node-exporter:v1.8.1
    command: ["--path.rootfs=/host", "--web.listen-address=:9100"]
    hostname: "{{.Node.Hostname}}"
    volumes:
      - /:/host:ro
    networks: [node]
    deploy:
      mode: global
      restart_policy: { condition: any, delay: 10s }
      resources: { limits: { memory: 64M } }
networks:
  node:
    external: true
    name: host
`,
  'reverse proxy with labels': `
version: "3.8"
services:
  proxy:
    image: traefik:v2.11
    command:
      - --providers.docker.swarmMode=true
      - --entrypoints.web.address=:80
      - "--log.level=INFO"
    ports:
      - target: 80
        published: 80
        protocol: tcp
        mode: host
      - target: 443
        published: 443
        mode: host
    volumes:
      - /var/run/docker.sock:/var/run/docker.sock:ro
    networks: [public]
    deploy:
      mode: global
      placement:
        constraints: [node.role == manager]
      labels:
        - traefik.enable=true
        - "traefik.http.routers.api.rule=Host(\`proxy.example.org\`)"
  whoami:
    image: traefik/whoami:latest
    networks:
      - public
      - default
    deploy:
      replicas: 3
      labels:
        traefik.enable: "true"
        traefik.http.services.whoami.loadbalancer.server.port: "80"
networks:
  public:
    external: true
`,
  'database with volumes and a health check': `
version: "3.8"
services:
  db:
    image: postgres:16
    environment:
      POSTGRES_DB: shop
      POSTGRES_USER: shop
      PGDATA: /var/lib/postgresql/data/pgdata
      EMPTY: ""
      NUMBER: 5432
    volumes:
      - data:/var/lib/postgresql/data
      - type: volume
        source: backup
        target: /backup
        read_only: true
        volume: {nocopy: true}
      - type: tmpfs
        target: /dev/shm
        tmpfs: {size: 268435456}
    healthcheck:
      test: ["CMD-SHELL", "pg_isready -U shop"]
      interval: 10s
      timeout: 5s
      retries: 5
      start_period: 1m30s
    stop_grace_period: 1m
    deploy:
      placement:
        constraints:
          - node.labels.db == true
      restart_policy:
        condition: on-failure
        delay: 5s
        max_attempts: 3
        window: 2m
      resources:
        limits: {cpus: "1.50", memory: 1G}
        reservations:
          cpus: "0.25"
          memory: 256M
          generic_resources:
            - discrete_resource_spec: {kind: gpu, value: 2}
volumes:
  data:
    labels: {keep: "yes"}
  backup:
    external: true
    name: nightly
`,
  'global agent': `
version: "3.7"
services:
  agent:
    image: prom/node-exporter:v1.8.0
    command: --path.procfs=/host/proc --path.rootfs=/rootfs --collector.filesystem.ignored-mount-points="^/(sys|proc)($$|/)"
    hostname: "exporter"
    user: "65534:65534"
    volumes:
      - type: bind
        source: /proc
        target: /host/proc
        read_only: true
      - type: bind
        source: /
        target: /rootfs
        read_only: true
        bind: {propagation: rslave}
    networks: [monitoring]
    deploy:
      mode: global
      endpoint_mode: dnsrr
      resources:
        limits: {memory: 64M}
      placement:
        constraints: [node.platform.os == linux, "node.labels.monitor != no"]
networks:
  monitoring:
    driver: overlay
    attachable: true
    internal: true
    labels: [purpose=monitoring]
`,
  'update policies': `
version: "3.8"
services:
  api:
    image: example/api:1.4.2
    entrypoint: ["/bin/tini", "--"]
    command: ["api", "--port", "8080"]
    working_dir: /srv
    environment:
      - MODE=production
      - DSN=postgres://db/shop?sslmode=disable
    ports: ["8080:8080", "8081-8083:9001-9003", "9999:53/udp"]
    stop_signal: SIGQUIT
    deploy:
      replicas: 6
      update_config:
        parallelism: 2
        delay: 10s
        order: start-first
        failure_action: rollback
        monitor: 30s
        max_failure_ratio: 0.25
      rollback_config:
        parallelism: 0
        order: stop-first
      placement:
        max_replicas_per_node: 2
        preferences:
          - spread: node.labels.zone
          - spread: node.labels.rack
`,
  'hardened web server': `
version: "3.9"
services:
  web:
    image: nginx:1.27-alpine
    read_only: true
    init: true
    cap_drop: [ALL]
    cap_add: [NET_BIND_SERVICE, CHOWN]
    sysctls:
      net.core.somaxconn: 1024
      net.ipv4.tcp_syncookies: 0
    ulimits:
      nproc: 65535
      nofile: {soft: 20000, hard: 40000}
    labels:
      com.example.team: web
    extra_hosts:
      - "upstream:10.0.0.7"
      - "six:fd00::7"
    dns: [9.9.9.9, 149.112.112.112]
    dns_search: example.org
    volumes:
      - type: tmpfs
        target: /var/cache/nginx
      - type: tmpfs
        target: /run
        tmpfs: {size: 1048576}
    deploy: {replicas: 2}
`,
  'aliases and several networks': `
version: "3.8"
services:
  front:
    image: example/front
    networks:
      edge: {aliases: [www, site]}
      inner:
  back:
    image: example/back:2
    networks:
      inner: {aliases: [backend]}
    tty: true
    stdin_open: true
networks:
  edge: {}
  inner:
    internal: true
    ipam:
      config:
        - subnet: 10.44.0.0/24
`,
  'anchors and extension fields': `
version: "3.8"
x-common: &common
  image: example/worker:3
  environment: &env
    QUEUE: default
    LEVEL: info
  deploy: &deploy
    replicas: 2
    restart_policy: {condition: any}
services:
  fast:
    <<: *common
    environment:
      <<: *env
      QUEUE: fast
  slow:
    <<: *common
    deploy:
      <<: *deploy
      replicas: 1
      labels: {speed: slow}
`,
  'disabled check, log driver': `
version: "3.8"
services:
  cache:
    image: redis:7
    command: redis-server --save "" --appendonly no
    healthcheck: {disable: true}
    logging:
      driver: json-file
      options: {max-size: 10m, max-file: "3"}
    deploy:
      resources:
        limits: {cpus: "2"}
      restart_policy: {condition: none}
  check:
    image: redis:7
    healthcheck:
      test: redis-cli ping
      interval: 1m
`,
  'ports of all kinds': `
version: "3.8"
services:
  dns:
    image: coredns/coredns
    ports:
      - "53:53/udp"
      - "53:53/tcp"
      - target: 9153
        published: 9153
        protocol: tcp
        mode: ingress
      - 8181
      - "9010-9012:9090"
      - "9020-9021:9091-9092/udp"
    deploy: {mode: replicated, replicas: 1}
`,
};
