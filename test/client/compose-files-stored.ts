/** More of compose-files.ts: with secrets, configs, networks of other stacks, and variables. */
export const STORED_COMPOSE_FILES: Readonly<Record<string, string>> = {
  'database with secrets': `
version: "3.8"
services:
  db:
    image: mariadb:11
    environment:
      MARIADB_ROOT_PASSWORD_FILE: /run/secrets/root
      MARIADB_DATABASE: shop
    secrets:
      - root
      - source: user
        target: /etc/db/user
        uid: "999"
        gid: "999"
        mode: 0440
    volumes:
      - data:/var/lib/mysql
      - /etc/localtime:/etc/localtime:ro
      - type: bind
        source: /srv/dumps
        target: /dumps
        bind: {propagation: rprivate}
    networks: [inner]
    deploy:
      endpoint_mode: dnsrr
      placement: {constraints: ["node.hostname == db1"]}
  admin:
    image: adminer:4
    depends_on: [db]
    ports: ["8080:8080"]
    networks: [inner, public]
secrets:
  root: {file: ./root.txt}
  user:
    external: true
    name: db-user
volumes:
  data: {}
networks:
  inner: {internal: true}
  public: {external: true}
`,
  'monitoring with configs': `
version: "3.9"
services:
  prometheus:
    image: prom/prometheus:v2.54.1
    command: ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.retention.time=30d"]
    user: root
    configs:
      - source: prometheus
        target: /etc/prometheus/prometheus.yml
      - source: rules
        target: /etc/prometheus/rules.yml
        mode: 0444
    volumes: ["tsdb:/prometheus"]
    networks: [monitoring]
    deploy:
      replicas: 1
      placement: {constraints: [node.labels.monitoring == true]}
      resources:
        limits: {memory: 2g, cpus: "1", pids: 500}
        reservations: {memory: 512m}
      update_config: {order: stop-first, failure_action: rollback}
  grafana:
    image: grafana/grafana:11.2.0
    environment:
      - GF_SECURITY_ADMIN_PASSWORD__FILE=/run/secrets/grafana
      - GF_SERVER_ROOT_URL=https://grafana.example.org
    secrets: [grafana]
    configs: [source]
    healthcheck:
      test: ["CMD", "wget", "-qO-", "http://localhost:3000/api/health"]
      interval: 30s
      timeout: 5s
    networks: [monitoring]
    deploy:
      labels: ["traefik.enable=true", "traefik.http.services.grafana.loadbalancer.server.port=3000"]
  cadvisor:
    image: gcr.io/cadvisor/cadvisor:v0.49.1
    hostname: "{{.Node.Hostname}}"
    volumes:
      - /:/rootfs:ro
      - /var/run:/var/run
      - /sys:/sys:ro
    networks: [monitoring]
    deploy: {mode: global}
configs:
  prometheus: {file: ./prometheus.yml}
  rules:
    name: alert-rules
    file: ./rules.yml
    labels: {team: ops}
  source:
    external: true
    name: datasource
secrets:
  grafana: {file: ./root.txt, labels: [team=ops]}
volumes: {tsdb: {}}
networks: {monitoring: {attachable: true}}
`,
  'network of an earlier stack, host ports': `
version: "3.7"
services:
  sip:
    image: example/sip:5
    ports:
      - {target: 5060, published: 5060, protocol: udp, mode: host}
      - {target: 5061, published: 5061, mode: host}
      - {target: 9000, published: 19000, mode: host}
    networks:
      shared: {aliases: [sip.internal]}
    stop_grace_period: 90s
    deploy:
      mode: global
      restart_policy: {condition: any, delay: 10s}
      update_config: {parallelism: 1, delay: 1m, failure_action: continue, monitor: 20s}
      rollback_config: {failure_action: continue, delay: 5s, monitor: 10s, max_failure_ratio: 0.1}
networks:
  shared:
    external:
      name: public
`,
  'queue and workers, variables': `
version: "3.8"
x-logging: &logging
  driver: json-file
  options: {max-size: "5m"}
services:
  queue:
    image: "rabbitmq:\${RABBIT_TAG:-3.13-management}"
    hostname: queue
    environment:
      RABBITMQ_ERLANG_COOKIE: \${COOKIE-secret}
      PRICE: "5$$"
    logging: *logging
    networks: [default]
  worker:
    image: "example/worker:\${WORKER_TAG:-latest}"
    command: sh -c 'exec worker --queue "amqp://queue" --id "{{.Task.Slot}}"'
    logging: *logging
    depends_on: [queue]
    deploy:
      replicas: 4
      restart_policy: {condition: on-failure, max_attempts: 5, window: 2m30s}
      update_config: {parallelism: 0, order: start-first, failure_action: pause, max_failure_ratio: 0.5}
  migrate:
    image: "example/worker:\${WORKER_TAG:-latest}"
    command: [migrate, --once]
    deploy:
      replicas: 1
      restart_policy: {condition: none}
  scheduler:
    image: "example/worker:\${WORKER_TAG:-latest}"
    command: [schedule]
    restart: unless-stopped
    cap_add: [sys_nice]
    stop_signal: SIGTERM
    expose: ["8080"]
    deploy: {replicas: 0}
`,
};
