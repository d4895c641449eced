//! Members by name and by SRV records, over IPv6, and on both families.

use std::process::{Child, Stdio};

use super::context::{Context, Scenario};
use crate::lab::Lab;
use crate::outcome::{Outcome, ensure};

pub(super) const ALL: &[Scenario] = &[
    ("srv-discovery", srv_discovery),
    ("ipv6-members", ipv6_members),
    ("dual-stack-members", dual_stack_members),
];

/// A name server for the hosts; ends when dropped.
struct Dns(Child);

impl Dns {
    fn serve(lab: &Lab, records: &[String]) -> Result<Self, String> {
        let own = [
            "--keep-in-foreground",
            "--no-resolv",
            "--no-hosts",
            "--no-daemon",
            "--conf-file=/dev/null",
            "--local=/example.com/",
        ];
        let listen = [
            "--listen-address=10.77.0.1",
            "--bind-interfaces",
            "--user=root",
            "--pid-file=",
        ];
        let mut arguments: Vec<&str> = own.into_iter().chain(listen).collect();
        arguments.extend(records.iter().map(String::as_str));
        let child = lab
            .command("dnsmasq", &arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        std::thread::sleep(std::time::Duration::from_millis(300));
        Ok(Self(child))
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn host_records() -> Vec<String> {
    (1..=3)
        .map(|n| format!("--host-record=m{n}.example.com,10.77.0.1{n}"))
        .collect()
}

/// `service,target,port,priority,weight` as dnsmasq has it.
fn srv(service: &str, port: u32, priority: u32, members: u32) -> impl Iterator<Item = String> {
    (1..=members).map(move |n| {
        format!("--srv-host=_{service}._tcp.example.com,m{n}.example.com,{port},{priority},0")
    })
}

/// Three members find each other by SRV records, after every way to get them wrong was told from
/// the hosts' own answers.
fn srv_discovery(context: &Context) -> Outcome {
    let lab = context.lab(3)?;
    let members: String = (1..=3)
        .map(|n| {
            format!("[[member]]\nname = \"m{n}\"\nhost = \"10.77.0.1{n}\"\naddress = \"m{n}.example.com\"\n")
        })
        .collect();
    let head = lab.head(&context.version);
    lab.write(
        "etcdup.toml",
        &format!("{head}discovery = {{ srv = \"example.com\" }}\n{members}"),
    )?;
    lab.etcdup(&["check"])?
        .exits(0)?
        .says("_etcd-server-ssl._tcp.example.com. 300 IN SRV 0 0 2380 m3.example.com.")?
        .says("m1.example.com. 300 IN A 10.77.0.11")?;
    for host in 1..=3 {
        lab.on(host, "echo nameserver 10.77.0.1 > /etc/resolv.conf")?
            .exits(0)?;
    }
    let refused = |records: Vec<String>, words: &str| -> Outcome {
        let _dns = Dns::serve(&lab, &[host_records(), records].concat())?;
        lab.etcdup(&["apply", "--yes"])?
            .exits(4)?
            .says("srv-records")?
            .says(words)
            .map(|_| ())
    };
    refused(
        Vec::new(),
        "finds no record of _etcd-server-ssl._tcp.example.com",
    )?;
    refused(
        srv("etcd-server-ssl", 0, 2380, 3).collect(),
        "has its fields in the wrong order",
    )?;
    refused(
        srv("etcd-server-ssl", 2380, 0, 2).collect(),
        "`0 0 2380 m3.example.com.` is missing",
    )?;
    let both = srv("etcd-server-ssl", 2380, 0, 3).chain(srv("etcd-server", 2380, 0, 3));
    refused(both.collect(), "etcd merges both")?;
    let right: Vec<String> = srv("etcd-server-ssl", 2380, 0, 3)
        .chain(srv("etcd-client-ssl", 2379, 0, 3))
        .collect();
    let _dns = Dns::serve(&lab, &[host_records(), right].concat())?;
    lab.apply()?;
    lab.on(1, "tr '\\0' ' ' < /proc/$(pidof etcd)/cmdline")?
        .says("--discovery-srv=example.com")?
        .never_says("--initial-cluster=")?;
    lab.on(2, "grep initial-cluster= /etc/systemd/system/etcd.service")?
        .exits(0)?
        .says("m3=https://m3.example.com:2380")?;
    let list = lab.on(
        1,
        "etcdctl --discovery-srv example.com --cacert /etc/etcd/ca.crt --cert /etc/etcd/server.crt --key /etc/etcd/server.key member list",
    )?;
    ensure(list.out.matches(", started, m").count() == 3, list.all())?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    lab.nothing_to_do()
}

/// Members on IPv6 alone, one of them spelled in another way: it is one address, spelled in one way
/// everywhere.
fn ipv6_members(context: &Context) -> Outcome {
    let lab = context.lab(3)?;
    let members = "[[member]]\nname = \"m1\"\nhost = \"fd77::11\"\n\
                   [[member]]\nname = \"m2\"\nhost = \"10.77.0.12\"\naddress = \"FD77:0:0::0012\"\n\
                   [[member]]\nname = \"m3\"\nhost = \"root@[fd77::13]:22\"\n";
    lab.write(
        "etcdup.toml",
        &format!("{}{members}", lab.head(&context.version)),
    )?;
    lab.apply()?;
    let endpoints = "https://[fd77::11]:2379,https://[fd77::12]:2379,https://[fd77::13]:2379";
    lab.etcdctl_agrees(endpoints, 3)?;
    lab.etcdctl(endpoints, &["member", "list"])?
        .exits(0)?
        .says("m2, https://[fd77::12]:2380, https://[fd77::12]:2379")?;
    lab.etcdup(&["verify"])?
        .exits(0)?
        .says("6 connections, both ways")?;
    lab.nothing_to_do()?;
    // The same member twice, under two spellings.
    lab.edit(
        "host = \"fd77::11\"",
        "host = \"fd77::11\"\naddress = \"fd77:0::12\"",
    )?;
    lab.etcdup(&["check"])?
        .exits(4)?
        .says("duplicate-address")
        .map(|_| ())
}

/// Members listen on both families: peers by IPv6, clients by either.
fn dual_stack_members(context: &Context) -> Outcome {
    let lab = context.lab(3)?;
    let members: String = (1..=3)
        .map(|n| {
            format!(
                "[[member]]\nname = \"m{n}\"\nhost = \"10.77.0.1{n}\"\naddress = \"fd77::1{n}\"\nlisten = \"::\"\nnames = [\"10.77.0.1{n}\"]\n"
            )
        })
        .collect();
    lab.write(
        "etcdup.toml",
        &format!("{}{members}", lab.head(&context.version)),
    )?;
    // Addresses of the newer family come up a moment later than a host answers by the other.
    lab.inside("for n in 11 12 13; do for i in $(seq 50); do timeout 1 bash -c \"exec 3<>/dev/tcp/fd77::$n/22\" && break; sleep 0.2; done; done")?
        .exits(0)?;
    lab.apply()?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    lab.etcdctl_agrees("https://[fd77::11]:2379,https://[fd77::13]:2379", 3)?;
    lab.nothing_to_do()
}
