//! SRV records as a host's own resolver answers, asked over TCP through the host.

use std::net::IpAddr;
use std::time::Duration;

use etcdup_core::plain::chain;
use etcdup_core::topology::SrvRecord;
use etcdup_transport::{BoxIo, DialError, Transport};
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, RCODE, TYPE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How long a resolver may take.
const ANSWER: Duration = Duration::from_secs(5);

/// The records of a service; none is an answer too. The resolvers are asked in turn until one
/// answers.
pub(crate) async fn srv(
    link: &dyn Transport,
    resolvers: &[IpAddr],
    service: &str,
) -> Result<Vec<SrvRecord>, String> {
    let mut why = "the host names no resolver in /etc/resolv.conf".to_owned();
    for resolver in resolvers {
        let asked = async {
            let stream = link
                .dial(&resolver.to_string(), 53)
                .await
                .map_err(|error: DialError| chain(&error))?;
            ask(stream, service).await
        };
        match tokio::time::timeout(ANSWER, asked).await {
            Ok(Ok(records)) => return Ok(records),
            Ok(Err(error)) => why = format!("{resolver}: {error}"),
            Err(_) => why = format!("{resolver}: no answer within {} s", ANSWER.as_secs()),
        }
    }
    Err(why)
}

async fn ask(mut stream: BoxIo, service: &str) -> Result<Vec<SrvRecord>, String> {
    let words = |error: std::io::Error| chain(&error);
    let query = query(service)?;
    let length = u16::try_from(query.len()).map_err(|error| chain(&error))?;
    stream
        .write_all(&length.to_be_bytes())
        .await
        .map_err(words)?;
    stream.write_all(&query).await.map_err(words)?;
    let mut length = [0; 2];
    stream.read_exact(&mut length).await.map_err(words)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer).await.map_err(words)?;
    read(&answer)
}

fn query(service: &str) -> Result<Vec<u8>, String> {
    let name = Name::new(service).map_err(|error| chain(&error))?;
    let mut packet = Packet::new_query(1);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    packet.questions.push(Question::new(
        name,
        TYPE::SRV.into(),
        CLASS::IN.into(),
        false,
    ));
    packet.build_bytes_vec().map_err(|error| chain(&error))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the codes and records are DNS's, not ours: any other is an error, or of no use"
)]
fn read(answer: &[u8]) -> Result<Vec<SrvRecord>, String> {
    let packet = Packet::parse(answer).map_err(|error| chain(&error))?;
    match packet.rcode() {
        RCODE::NoError => {}
        RCODE::NameError => return Ok(Vec::new()),
        other => return Err(format!("it answers {other:?}")),
    }
    let one = |data: &RData<'_>| match data {
        RData::SRV(srv) => Some(SrvRecord {
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            target: srv.target.to_string().trim_end_matches('.').to_owned(),
        }),
        _ => None,
    };
    Ok(packet
        .answers
        .iter()
        .filter_map(|record| one(&record.rdata))
        .collect())
}
