// Package clickhouse runs the real ClickHouse engine without a ClickHouse server: the engine
// as a shared library (libchdb), in a child process of its own, behind ClickHouse's HTTP
// interface. clickhouse-go with Protocol HTTP, curl and Grafana speak to it as to a server.
//
// The parent calls Start and gets a Server, which watches the child and starts it again when
// it ends. The child's main is ServeChild. Serve alone runs the engine in this process.
//
// What a ClickHouse server has and this has not: the native TCP port, CREATE USER, BACKUP,
// system.*_log, sessions over several requests, external tables, and KILL QUERY by the
// query id that the client chose. Inserts are synchronous unless a query asks for
// async_insert, so that an insert that was answered is on disk.
package clickhouse
