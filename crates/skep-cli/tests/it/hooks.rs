//! Programs on their hooks: devices, maps of sockets, links that change their program, iterators, structures, perf events.
//!
//! Devices are those of a network namespace of the test's own; pins are in a bpf file system of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{Said, has_clang, installed, said, skep, skip, until};
use crate::objects::{BpfFs, fails, json_of, kernel, ok};

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it").join(name)
}

/// Loads the programs, pinned in `p`, with maps in `m`; `None`, with the reason printed, where that cannot be done.
fn loaded(name: &str) -> Option<BpfFs> {
    if !has_clang() {
        skip("clang is not installed");
        return None;
    }
    let fs = BpfFs::new(name)?;
    let line =
        format!("prog loadall {} {} pinmaps {}", source("hooks.bpf.c").display(), fs.path("p"), fs.path("m"));
    ok(&line);
    Some(fs)
}

/// Does a line fail because this kernel lacks something? Then the reason is printed.
fn lacks(what: &str, said: &Said) -> bool {
    let lacks = said.status != 0;
    if lacks {
        skip(&format!("{what}: {}", said.stderr.trim()));
    }
    lacks
}

/// A network namespace with a pair of devices, `a0` and `a1`. It ends with its process.
struct Network(Child);

impl Network {
    fn new() -> Option<Self> {
        if !["unshare", "nsenter", "ip"].into_iter().all(installed) {
            skip("there are no `unshare`, `nsenter` and `ip`");
            return None;
        }
        let holder = Command::new("unshare").args(["--net", "cat"]).stdin(Stdio::piped()).spawn();
        let network = Self(holder.expect("unshare starts"));
        let of = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).ok();
        until("no network namespace", || of(&network.0.id().to_string()) != of("self"));
        let added = network.run("ip", "link add a0 type veth peer name a1");
        (!lacks("a pair of network devices", &added)).then_some(network)
    }

    fn run(&self, program: &str, line: &str) -> Said {
        let namespace = format!("--net=/proc/{}/ns/net", self.0.id());
        let mut command = Command::new("nsenter");
        command.arg(namespace).arg(program).args(line.split_whitespace()).stdin(Stdio::null());
        command.env_remove("SKEP_RUNTIME").env("NO_COLOR", "1");
        said(command.output().expect("nsenter starts"))
    }

    fn skep(&self, line: &str) -> Said {
        self.run(env!("CARGO_BIN_EXE_skep"), line)
    }

    fn ok(&self, line: &str) {
        let said = self.skep(line);
        assert_eq!(said.status, 0, "skep {line}: {}{}", said.stdout, said.stderr);
    }

    fn json(&self, line: &str) -> Value {
        let said = self.skep(&format!("-j {line}"));
        assert_eq!(said.status, 0, "skep -j {line}: {}{}", said.stdout, said.stderr);
        serde_json::from_str(&said.stdout).unwrap_or_else(|e| panic!("skep -j {line}: {e}: {}", said.stdout))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn id(fs: &BpfFs, program: &str) -> Value {
    json_of(&format!("prog show pinned {}", fs.path(&format!("p/{program}"))))["id"].clone()
}

#[test]
fn devices_have_programs_and_give_them_back() {
    let Some(fs) = loaded("net") else { return };
    let Some(network) = Network::new() else { return };
    let (pass, drop) = (fs.path("p/pass"), fs.path("p/drop"));
    network.ok(&format!("net attach xdpgeneric pinned {pass} dev a0"));
    let on_device = |program| json!([{"devname": "a0", "ifindex": index(&network), "mode": "generic", "id": id(&fs, program)}]);
    assert_eq!(network.json("net show")[0]["xdp"], on_device("pass"));
    let taken = network.skep(&format!("net attach xdpgeneric pinned {drop} dev a0"));
    assert_eq!(taken.status, 240, "{}", taken.stderr);
    network.ok(&format!("net attach xdpgeneric pinned {drop} dev a0 overwrite"));
    assert_eq!(network.json("net show dev a0")[0]["xdp"], on_device("drop"));
    assert_eq!(network.json("net show dev a1")[0]["xdp"], json!([]));
    network.ok("net detach xdpgeneric dev a0");
    assert_eq!(network.json("net show")[0]["xdp"], json!([]));
    for line in ["net attach xdp id 1 dev nothing", "net detach nonsense dev a0", "net show dev nothing"] {
        assert_ne!(network.skep(line).status, 0, "{line}");
    }
}

fn index(network: &Network) -> u32 {
    let shown = network.run("cat", "/proc/self/net/dev_snmp6/a0").stdout;
    let number = shown.lines().find_map(|line| line.strip_prefix("ifIndex")?.trim().parse().ok());
    number.unwrap_or_else(|| panic!("no number of `a0`: {shown}"))
}

#[test]
fn traffic_control_has_programs_in_order() {
    let Some(fs) = loaded("tcx") else { return };
    let Some(network) = Network::new() else { return };
    let first = network.skep(&format!("net attach tcx_ingress pinned {} dev a0", fs.path("p/classify")));
    if lacks("TCX", &first) {
        return;
    }
    let shown = network.json("net show dev a0");
    assert_eq!(shown[0]["tc"][0]["kind"], "tcx/ingress", "{shown}");
    assert_eq!(shown[0]["tc"][0]["prog_id"], id(&fs, "classify"), "{shown}");
    network.ok("net detach tcx_ingress dev a0");
    assert_eq!(network.json("net show dev a0")[0]["tc"], json!([]));
}

#[test]
fn sockets_and_flows_have_programs_without_links() {
    let Some(fs) = loaded("sockets") else { return };
    let Some(network) = Network::new() else { return };
    let (verdict, socks) = (fs.path("p/verdict"), fs.path("m/socks"));
    ok(&format!("prog attach pinned {verdict} msg_verdict pinned {socks}"));
    ok(&format!("prog detach pinned {verdict} msg_verdict pinned {socks}"));
    assert!(
        fails(&format!("prog detach pinned {verdict} msg_verdict pinned {socks}"), 234)["error"].is_string()
    );
    assert!(fails(&format!("prog attach pinned {verdict} msg_verdict"), 234)["error"].is_string());
    assert!(
        fails(&format!("prog attach pinned {verdict} nonsense pinned {socks}"), 234)["error"].is_string()
    );
    let dissect = fs.path("p/dissect");
    network.ok(&format!("prog attach pinned {dissect} flow_dissector"));
    let shown = network.json("net show");
    assert_eq!(shown[0]["flow_dissector"][0]["id"], id(&fs, "dissect"), "{shown}");
    network.ok(&format!("prog detach pinned {dissect} flow_dissector"));
    assert_eq!(network.json("net show")[0]["flow_dissector"], json!([]));
}

#[test]
fn links_change_their_program() {
    let Some(fs) = loaded("update") else { return };
    let Some(network) = Network::new() else { return };
    let (pass, drop, link) = (fs.path("p/pass"), fs.path("p/drop"), fs.path("link"));
    let attached = network.skep(&format!("prog attach pinned {pass} xdp dev a0 pin {link}"));
    if lacks("a link to a device", &attached) {
        return;
    }
    let runs = || json_of(&format!("link show pinned {link}"))["prog_id"].clone();
    assert_eq!(runs(), id(&fs, "pass"));
    ok(&format!("link update pinned {link} pinned {drop}"));
    assert_eq!(runs(), id(&fs, "drop"));
    // The program that is to be replaced is another one by now.
    let stale = kernel(&format!("link update pinned {link} pinned {pass} old pinned {pass}"));
    assert_ne!(stale.status, 0);
    ok(&format!("link update pinned {link} pinned {pass} old pinned {drop}"));
    let unfit = kernel(&format!("link update pinned {link} pinned {}", fs.path("p/classify")));
    assert_ne!(unfit.status, 0);
    assert_eq!(runs(), id(&fs, "pass"));
    assert!(fails(&format!("link show pinned {pass}"), 255)["error"].is_string());
    ok(&format!("link detach pinned {link}"));
    assert!(fails("link detach id 4294967295", 1)["error"].is_string());
}

#[test]
fn perf_events_and_their_holders_are_listed() {
    let Some(fs) = loaded("perf") else { return };
    let said = kernel(&format!(
        "prog attach pinned {} tracepoint/syscalls/sys_enter_getpgid pin {}",
        fs.path("p/trace"),
        fs.path("link")
    ));
    if lacks("a tracepoint", &said) {
        return;
    }
    // A link is no descriptor of a perf event: nobody is listed for it.
    let listed = json_of("perf list");
    let ours = |all: &Value| {
        all.as_array().is_some_and(|all| all.iter().any(|one| one["prog_id"] == id(&fs, "trace")))
    };
    assert!(!ours(&listed), "{listed}");
    assert_eq!(json_of(&format!("link show pinned {}", fs.path("link")))["tracepoint"], "sys_enter_getpgid");
    assert_eq!(fails("perf nonsense", 255), Value::Null);
}

#[test]
fn runs_of_a_program_are_counted() {
    let Some(fs) = loaded("profile") else { return };
    let pass = fs.path("p/pass");
    let mut profile = skep();
    profile.env_remove("SKEP_RUNTIME").stdout(Stdio::piped()).stderr(Stdio::piped());
    profile.args(["-j", "prog", "profile", "pinned", &pass, "duration", "1", "run_time_ns"]);
    let mut profile = profile.spawn().expect("skep starts");
    let packet = crate::harness::Scratch::new("profile");
    let data = packet.write("data", [0; 64]);
    let run = format!("prog run pinned {pass} data_in {} repeat 10 --runtime kernel", data.display());
    while profile.try_wait().expect("a child").is_none() {
        ok(&run);
    }
    let said = said(profile.wait_with_output().expect("its output"));
    if lacks("statistics of programs", &said) {
        return;
    }
    let counted: Value = serde_json::from_str(&said.stdout).expect("JSON");
    assert_eq!(counted[0]["metric"], "run_time_ns", "{counted}");
    assert!(counted[0]["run_cnt"].is_u64() && counted[0]["value"].is_u64(), "{counted}");
    assert!(fails(&format!("prog profile pinned {pass}"), 255)["error"].is_string());
    assert!(fails(&format!("prog profile pinned {pass} nonsense"), 255)["error"].is_string());
}

#[test]
fn iterators_are_pinned_and_read() {
    let Some(fs) = loaded("iter") else { return };
    let (object, counts, pin) = (source("iter.bpf.c"), fs.path("m/counts"), fs.path("it"));
    let object = object.display();
    let said = kernel(&format!("iter pin {object} {pin} map pinned {counts}"));
    if lacks("iterators", &said) {
        return;
    }
    assert_eq!(ok(&format!("iter cat {pin}")), "key 0\nkey 1\nkey 2\n");
    let shown = json_of(&format!("link show pinned {pin}"));
    assert_eq!((&shown["type"], &shown["target_name"]), (&json!("iter"), &json!("bpf_map_elem")));
    assert_eq!(shown["map_id"], json_of(&format!("map show pinned {counts}"))["id"]);
    assert!(fails(&format!("iter pin {object} {pin} map pinned {counts}"), 239)["error"].is_string());
    assert!(fails(&format!("iter pin {} {}", fs.path("nothing"), fs.path("x")), 254)["error"].is_string());
    assert!(!Path::new(&fs.path("x")).exists());
}

#[test]
fn structures_are_registered_and_taken_back() {
    let Some(_fs) = loaded("structures") else { return };
    let object = source("struct_ops.bpf.c");
    let said = kernel(&format!("struct_ops register {}", object.display()));
    if lacks("congestion controls", &said) {
        return;
    }
    assert!(said.stdout.starts_with("Registered tcp_congestion_ops skep_test id "), "{}", said.stdout);
    let shown = json_of("struct_ops show name skep_test");
    let dump = json_of("struct_ops dump name skep_test");
    ok("struct_ops unregister name skep_test");
    assert_eq!(shown[0]["kernel_struct_ops"], "tcp_congestion_ops");
    let value = &dump[1]["bpf_struct_ops_tcp_congestion_ops"];
    assert_eq!(value["data"]["name"], "skep_test", "{dump}");
    let function = value["data"]["ssthresh"].as_str().expect("a function");
    assert!(function.starts_with("u32 (struct sock *) skep_ssthresh/prog_id:"), "{function}");
    assert_eq!(fails("struct_ops show name skep_test", 255), json!([]));
    assert!(fails("struct_ops unregister name skep_test", 255)["error"].is_string());
}

#[test]
fn mounts_that_delegate_are_listed() {
    let Some(fs) = BpfFs::new("token") else { return };
    let directory = fs.path("");
    let tokens = json_of("token list");
    assert!(
        tokens.as_array().is_some_and(|all| all.iter().all(|one| one["token_info"] != directory.as_str()))
    );
    assert!(ok("token show").is_empty() || ok("token").contains("allowed_cmds"));
    assert_eq!(fails("token nonsense", 255), Value::Null);
}

#[test]
fn loaded_objects_use_maps_that_are_there() {
    let Some(fs) = loaded("given") else { return };
    let (object, counts) = (source("hooks.bpf.c"), fs.path("m/counts"));
    let object = object.display();
    ok(&format!("map update pinned {counts} key 2 0 0 0 value 7 0 0 0 0 0 0 0"));
    ok(&format!("prog loadall {object} {} map name counts pinned {counts}", fs.path("q")));
    let maps = json_of(&format!("prog show pinned {}", fs.path("q/pass")))["map_ids"].clone();
    assert_eq!(maps, json!([json_of(&format!("map show pinned {counts}"))["id"]]));
    for (map, why) in
        [("name counts", "another map"), ("name nothing", "none"), ("idx 99", "none"), ("x", "no word")]
    {
        let line = format!("prog loadall {object} {} map {map} pinned {}", fs.path("r"), fs.path("m/socks"));
        assert!(fails(&line, 255)["error"].is_string(), "{why}");
    }
    assert!(!Path::new(&fs.path("r")).exists());
}
