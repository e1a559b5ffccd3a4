//! Puts up what is measured: mock upstreams beside the load generator on one core, proxies alone on the other.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use memchr::memmem;

use crate::caller;
use crate::http::Connection;
use crate::process::Process;
use crate::template::{self, Door};
use crate::upstream::Era;

/// Where everything runs.
pub(crate) const PROXY_CORE: &str = "0";
pub(crate) const LOAD_CORE: &str = "1";

static STARTED: AtomicUsize = AtomicUsize::new(0);
const READY_TIMEOUT: Duration = Duration::from_mins(2);
/// The key of the one user; proxies that know none pass it on.
const KEY: &str = "tg_bench_0123456789abcdefghijklmnopqrstuvwxyzABCDEF";

/// The programs.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) own: PathBuf,
    pub(crate) toolgate: PathBuf,
    pub(crate) nginx: Option<PathBuf>,
    /// Another MCP proxy to be measured beside: the program of the `mcp-proxy` crate.
    pub(crate) peer: Option<PathBuf>,
    /// Configurations and logs go here.
    pub(crate) out: PathBuf,
    /// How many cores there are.
    pub(crate) cores: usize,
    /// What Toolgate runs under, and its arguments; empty: nothing.
    pub(crate) under: Vec<String>,
}

/// Mock upstreams: one process that stands for several gateways.
#[derive(Debug)]
pub(crate) struct Upstreams {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    pub(crate) names: Vec<String>,
    tools: usize,
}

/// Something that answers MCP at an address; without a process it is the upstream itself.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) process: Option<Process>,
    pub(crate) address: SocketAddr,
    pub(crate) path: &'static str,
    /// How many users its clients are, in turn.
    users: usize,
}

impl Target {
    pub(crate) fn door(&self) -> Door {
        Door {
            path: self.path,
            key: key(0),
        }
    }

    /// Returns the doors of its users.
    pub(crate) fn doors(&self) -> Vec<Door> {
        let of = |user| Door {
            key: key(user),
            ..self.door()
        };
        (0..self.users).map(of).collect()
    }
}

/// What is put up for a measurement.
#[derive(Clone, Copy)]
struct Shape {
    recorded: bool,
    users: usize,
    /// Configures a gateway by the address of its upstream and its number there.
    gateway: fn(SocketAddr, usize) -> String,
}

/// As it is measured unless said: one user, whose calls are recorded.
const USUAL: Shape = Shape {
    recorded: true,
    users: 1,
    gateway: at_url,
};

/// Returns the key of a user.
fn key(user: usize) -> String {
    match user {
        0 => KEY.to_owned(),
        user => format!("{KEY}{user}"),
    }
}

impl Programs {
    pub(crate) fn upstreams(
        &self,
        name: &str,
        era: Era,
        tools: usize,
        gateways: usize,
    ) -> Result<Upstreams, String> {
        self.upstreams_on(LOAD_CORE, name, era, (tools, gateways))
    }

    pub(crate) fn upstreams_on(
        &self,
        core: &str,
        name: &str,
        era: Era,
        (tools, gateways): (usize, usize),
    ) -> Result<Upstreams, String> {
        let era = if era == Era::Modern { "modern" } else { "legacy" };
        let words = ["upstream", name, era, &tools.to_string(), &gateways.to_string()];
        let mut process = self.start(&format!("upstream-{name}"), core, &self.own, &words)?;
        let address = process.listening()?.parse().map_err(|_| "bad address")?;
        let names = (0..gateways).map(|index| format!("{name}{index}")).collect();
        Ok(Upstreams {
            process,
            address,
            names,
            tools,
        })
    }

    pub(crate) fn bare(&self, to: &Upstreams) -> Result<Target, String> {
        let mut process = self.start("bare", PROXY_CORE, &self.own, &["bare", &to.address.to_string()])?;
        let address = process.listening()?.parse().map_err(|_| "bad address")?;
        Ok(Target {
            name: "bare",
            process: Some(process),
            address,
            path: "/mcp",
            users: 1,
        })
    }

    /// Starts nginx as a plain reverse proxy: one worker, kept-alive connections to the upstream, no log, no buffering
    /// of answers (streams must not be held back), and buffers as large as serve it best here.
    pub(crate) fn nginx(&self, to: &Upstreams) -> Result<Option<Target>, String> {
        let Some(nginx) = &self.nginx else {
            return Ok(None);
        };
        let address = free_address()?;
        let dir = self.out.join("nginx");
        fs::create_dir_all(&dir).map_err(|error| error.to_string())?;
        let conf = dir.join("nginx.conf");
        let text = NGINX_CONF
            .replace("{dir}", &dir.display().to_string())
            .replace("{listen}", &address.to_string())
            .replace("{upstream}", &to.address.to_string());
        fs::write(&conf, text).map_err(|error| error.to_string())?;
        let (conf, dir) = (conf.display().to_string(), format!("{}/", dir.display()));
        let words = ["-p", dir.as_str(), "-c", conf.as_str(), "-e", "stderr"];
        let mut process = self.start("nginx", PROXY_CORE, nginx, &words)?;
        await_port(&mut process, address)?;
        // It listens before its worker is there.
        process.await_children()?;
        Ok(Some(Target {
            name: "nginx",
            process: Some(process),
            address,
            path: "/mcp",
            users: 1,
        }))
    }

    /// Starts Toolgate with keys, fifty permitted patterns, metrics and the record of calls; waits until it offers every tool.
    pub(crate) async fn toolgate(&self, to: &[&Upstreams]) -> Result<Target, String> {
        self.toolgate_on(PROXY_CORE, to).await
    }

    pub(crate) async fn toolgate_on(&self, cores: &str, to: &[&Upstreams]) -> Result<Target, String> {
        // Records are written together every so often: how many at once, and so what each costs, is a matter of time.
        let recorded = self.under.is_empty();
        self.serve(cores, to, Shape { recorded, ..USUAL }).await
    }

    /// Starts Toolgate for many users, with the record of calls, without it, and with it at gateways of kind `composio`,
    /// where each call goes through its user's own session.
    pub(crate) async fn toolgates_of_many(
        &self,
        to: &Upstreams,
        users: usize,
    ) -> Result<[Target; 3], String> {
        let with = Shape { users, ..USUAL };
        let without = Shape {
            recorded: false,
            ..with
        };
        let composio = Shape {
            gateway: at_composio,
            ..with
        };
        Ok([
            self.serve(PROXY_CORE, &[to], with).await?,
            self.serve(PROXY_CORE, &[to], without).await?,
            self.serve(PROXY_CORE, &[to], composio).await?,
        ])
    }

    async fn serve(&self, cores: &str, to: &[&Upstreams], shape: Shape) -> Result<Target, String> {
        let keys =
            (0..shape.users).map(|user| format!("{{ user = \"bench{user}\", key = \"{}\" }}", key(user)));
        let mut text = TOOLGATE_CONF.replace("{keys}", &keys.collect::<Vec<_>>().join(", "));
        let mut patterns: Vec<String> = (0..45).map(|index| format!("\"other_{index:02}_*\"")).collect();
        patterns.extend(
            ["*_echo", "*_blob", "*_progress", "*_sleep", "*_tool_*"].map(|glob| format!("\"{glob}\"")),
        );
        text = text.replace("{permitted}", &patterns.join(", "));
        let mut tools = 0;
        for upstreams in to {
            for (index, name) in upstreams.names.iter().enumerate() {
                let gateway = (shape.gateway)(upstreams.address, index);
                let _ = write!(text, "\n[gateways.{name}]\n{gateway}\nin_flight_max = 4096\n");
                tools += upstreams.tools;
            }
        }
        // A file of its own: Toolgate takes up changes of its configuration.
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let conf = self.out.join(format!("toolgate-{number}.toml"));
        text = text.replace("{store}", &self.store(number)?);
        if !shape.recorded {
            text.push_str("\n[executions]\nenabled = false\n");
        }
        fs::write(&conf, text).map_err(|error| error.to_string())?;
        let conf = conf.display().to_string();
        let program = self.toolgate.display().to_string();
        let mut words: Vec<&str> = self.under.iter().map(String::as_str).collect();
        words.extend([&program, "serve", "--config", &conf, "--listen", "127.0.0.1:0"]);
        let (first, words) = words.split_first().ok_or("no program")?;
        let mut process = self.start("toolgate", cores, Path::new(first), words)?;
        let url = process.listening()?;
        let address = url.trim_start_matches("http://").trim_end_matches("/mcp");
        let address = address.parse().map_err(|_| format!("bad address {url}"))?;
        let mut target = Target {
            name: "toolgate",
            process: None,
            address,
            path: "/mcp",
            users: shape.users,
        };
        await_tools(&target, tools).await?;
        target.process = Some(process);
        Ok(target)
    }

    /// Returns a fresh store for a Toolgate: a file, as people have it. Whoever counts instructions has it in memory,
    /// where less depends on the moment.
    fn store(&self, number: usize) -> Result<String, String> {
        if !self.under.is_empty() {
            return Ok("memory".to_owned());
        }
        let dir = self.out.join(format!("store-{number}"));
        if dir.exists() {
            fs::remove_dir_all(&dir).map_err(|error| error.to_string())?;
        }
        Ok(format!("sqlite://{}/toolgate.db", dir.display()))
    }

    /// Starts the other MCP proxy, if one was given, with the same key. It puts its backend's name before each tool's
    /// own; aliases take it off first, so that clients call the same names everywhere.
    pub(crate) fn peer(&self, to: &Upstreams) -> Result<Option<Target>, String> {
        let (Some(peer), Some(name)) = (&self.peer, to.names.first()) else {
            return Ok(None);
        };
        let address = free_address()?;
        let alias = |tool: &str| format!("{{ from = \"{name}_{tool}\", to = \"{tool}\" }}");
        let aliases = ["echo", "blob", "progress", "sleep"].map(alias).join(", ");
        let text = PEER_CONF
            .replace("{port}", &address.port().to_string())
            .replace("{key}", KEY)
            .replace("{name}", name)
            .replace("{url}", &format!("http://{}/0/mcp", to.address))
            .replace("{aliases}", &aliases);
        let conf = self.out.join("peer.toml");
        fs::write(&conf, text).map_err(|error| error.to_string())?;
        let conf = conf.display().to_string();
        let mut process = self.start("peer", PROXY_CORE, peer, &["--config", &conf])?;
        await_port(&mut process, address)?;
        Ok(Some(Target {
            name: "peer",
            process: Some(process),
            address,
            path: "/",
            users: 1,
        }))
    }

    fn start(&self, name: &str, cores: &str, program: &Path, words: &[&str]) -> Result<Process, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Process::start(
            name,
            cores,
            program,
            &words,
            &self.out.join(format!("{name}.log")),
        )
    }
}

impl Upstreams {
    /// The upstream without anything before it.
    pub(crate) fn direct(&self) -> Target {
        Target {
            name: "direct",
            process: None,
            address: self.address,
            path: "/mcp",
            users: 1,
        }
    }
}

const NGINX_CONF: &str = "\
daemon off;
worker_processes 1;
pid {dir}/nginx.pid;
error_log stderr error;
events { worker_connections 8192; }
http {
    access_log off;
    keepalive_requests 100000000;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    upstream mcp { server {upstream}; keepalive 1024; keepalive_requests 100000000; }
    server {
        listen {listen} backlog=4096;
        location / {
            proxy_pass http://mcp;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_buffering off;
            proxy_buffer_size 64k;
            proxy_buffers 8 64k;
            proxy_read_timeout 60s;
        }
    }
}
";

const TOOLGATE_CONF: &str = "\
[server]
store = \"{store}\"

[auth]
keys = [{keys}]

[tools]
permitted = [{permitted}]

[limits]
in_flight_max = 8192
in_flight_per_user_max = 8192
sessions_per_user_max = 100000
sessions_max = 100000
page_items_max = 10000
";

const PEER_CONF: &str = "\
[proxy]
name = \"peer\"
separator = \"_\"

[proxy.listen]
host = \"127.0.0.1\"
port = {port}

[auth]
type = \"bearer\"
tokens = [\"{key}\"]

[[backends]]
name = \"{name}\"
transport = \"http\"
url = \"{url}\"
aliases = [{aliases}]
";

/// Takes a free port. Somebody else could take it in between; then the start fails, loudly.
fn free_address() -> Result<SocketAddr, String> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    listener.local_addr().map_err(|error| error.to_string())
}

fn await_port(process: &mut Process, address: SocketAddr) -> Result<(), String> {
    let deadline = Instant::now() + READY_TIMEOUT;
    while std::net::TcpStream::connect(address).is_err() {
        if Instant::now() > deadline || !process.is_alive() {
            return Err(format!("nothing answers at {address}; see its log"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Configures a gateway by its URL.
fn at_url(address: SocketAddr, index: usize) -> String {
    format!("url = \"http://{address}/{index}/mcp\"")
}

/// Configures a gateway of kind `composio` whose API is the mock upstream's.
fn at_composio(address: SocketAddr, _: usize) -> String {
    format!("kind = \"composio\"\nbase_url = \"http://{address}\"\napi_key = \"ak_bench\"")
}

async fn await_tools(target: &Target, tools: usize) -> Result<(), String> {
    let deadline = Instant::now() + READY_TIMEOUT;
    let door = target.door();
    let mut connection = Connection::open(target.address).await?;
    let session = caller::initialize(&mut connection, &door).await?;
    loop {
        let found = listed(&mut connection, &door, &session).await?;
        if found == tools {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("toolgate offers {found} of {tools} tools; see its log"));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Counts the tools of every page.
async fn listed(connection: &mut Connection, door: &Door, session: &str) -> Result<usize, String> {
    let (mut found, mut params) = (0, String::new());
    loop {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list"{params}}}"#);
        let request = template::legacy(door, Some(session), &body);
        let answer = connection.exchange(request.as_bytes()).await?;
        found += memmem::find_iter(answer.body, br#"{"name":""#).count();
        let key = br#""nextCursor":""#;
        let Some(at) = memmem::rfind(answer.body, key) else {
            return Ok(found);
        };
        let rest = &answer.body[at + key.len()..];
        let end = memchr::memchr(b'"', rest).ok_or("a cursor without an end")?;
        let cursor = String::from_utf8_lossy(&rest[..end]);
        params = format!(r#","params":{{"cursor":"{cursor}"}}"#);
    }
}
