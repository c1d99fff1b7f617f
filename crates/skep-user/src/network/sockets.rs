//! Sockets of the host by the addresses of a packet, as the kernel's look-ups find them (`__inet_lookup`, `__udp4_lib_lookup`).

use std::fs;

use skep_vm::env::network::{Address, Socket, SocketQuery};

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const TCP: u8 = 6;
const LISTEN: u8 = 10;

/// The socket that a packet is for.
pub(crate) fn find(query: &SocketQuery) -> Option<Socket> {
    let mut sockets = Vec::new();
    let tables: &[(&str, u8)] = match (query.protocol, query.family) {
        (TCP, AF_INET) => &[("tcp", AF_INET), ("tcp6", AF_INET6)],
        (TCP, _) => &[("tcp6", AF_INET6)],
        (_, AF_INET) => &[("udp", AF_INET), ("udp6", AF_INET6)],
        _ => &[("udp6", AF_INET6)],
    };
    for (table, family) in tables {
        let text = fs::read_to_string(format!("/proc/self/net/{table}")).unwrap_or_default();
        sockets.extend(text.lines().skip(1).filter_map(|line| parse(line, *family, query.protocol)));
    }
    let best = sockets.into_iter().filter_map(|socket| Some((score(&socket, query)?, socket)));
    best.max_by_key(|(score, _)| *score).map(|(_, socket)| socket)
}

/// How well a socket fits a packet: connected before listening, one address before any, one family before both.
fn score(socket: &Socket, query: &SocketQuery) -> Option<u32> {
    if socket.local.1 != query.destination.1 {
        return None;
    }
    let mut score = 1;
    let any = is_any(&socket.local.0);
    if !any {
        (plain(&socket.local.0, socket.family) == plain(&query.destination.0, query.family)).then_some(())?;
        score += 4;
    }
    if socket.remote.1 != 0 {
        let same = plain(&socket.remote.0, socket.family) == plain(&query.source.0, query.family);
        (same && socket.remote.1 == query.source.1).then_some(())?;
        score += 8;
    } else if query.protocol == TCP && socket.state != LISTEN {
        return None;
    }
    Some(score + u32::from(socket.family == query.family))
}

fn is_any(address: &Address) -> bool {
    *address == [0; 16]
}

/// An address without the form that IPv4 addresses have in IPv6.
fn plain(address: &Address, family: u8) -> Address {
    const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
    let mut plain = [0; 16];
    match address.strip_prefix(&MAPPED) {
        Some(ipv4) if family == AF_INET6 => plain[..4].copy_from_slice(ipv4),
        _ => plain = *address,
    }
    plain
}

/// A line of `/proc/net/tcp` and its like: number, local address, the other side's, state, and more.
fn parse(line: &str, family: u8, protocol: u8) -> Option<Socket> {
    let mut fields = line.split_whitespace().skip(1);
    let (local, remote) = (endpoint(fields.next()?)?, endpoint(fields.next()?)?);
    let state = u8::from_str_radix(fields.next()?, 16).ok()?;
    Some(Socket { family, protocol, local, remote, state })
}

/// `ADDRESS:PORT`, the address as words of this machine in hexadecimal.
fn endpoint(text: &str) -> Option<(Address, u16)> {
    let (words, port) = text.split_once(':')?;
    let mut address = [0; 16];
    for (n, word) in words.as_bytes().chunks(8).enumerate() {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        address.get_mut(4 * n..4 * n + 4)?.copy_from_slice(&word.to_ne_bytes());
    }
    Some((address, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ipv4(bytes: [u8; 4]) -> Address {
        let mut address = [0; 16];
        address[..4].copy_from_slice(&bytes);
        address
    }

    #[test]
    fn the_socket_that_fits_best_is_found() {
        let lines = [
            "   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1",
            "   1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1",
            "   2: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 3 1",
        ];
        let sockets: Vec<Socket> = lines.iter().filter_map(|line| parse(line, AF_INET, TCP)).collect();
        let loopback = ipv4([127, 0, 0, 1]);
        let query = |source: u16, destination: Address| SocketQuery {
            family: AF_INET,
            protocol: TCP,
            source: (loopback, source),
            destination: (destination, 0x1f90),
        };
        let best = |query: &SocketQuery| {
            let ranked =
                sockets.iter().enumerate().filter_map(|(n, socket)| Some((score(socket, query)?, n)));
            ranked.max().map(|(_, n)| n)
        };
        assert_eq!(best(&query(50000, loopback)), Some(2));
        assert_eq!(best(&query(50001, loopback)), Some(1));
        assert_eq!(best(&query(50001, ipv4([10, 0, 0, 1]))), Some(0));
        let other_port = SocketQuery { destination: (loopback, 80), ..query(1, loopback) };
        assert_eq!(best(&other_port), None);
    }
}
