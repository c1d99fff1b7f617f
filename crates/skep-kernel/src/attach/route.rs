//! Routes whose packets a program sees: lightweight tunnels (`CONFIG_LWTUNNEL_BPF`, `CONFIG_IPV6_SEG6_BPF`).
//!
//! The route is made for the program, and a guard removes it when we end.

use std::net::IpAddr;

use skep_isa::uapi::ProgType;
use skep_runtime::{Error, Fd, Result};

use super::{Attachment, device};
use crate::netlink::{NEW, Request, Socket};

const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_ENCAP_TYPE: u16 = 21;
const RTA_ENCAP: u16 = 22;

/// Of `struct rtmsg`: `RT_TABLE_MAIN`, `RTPROT_STATIC`, `RT_SCOPE_UNIVERSE` and `RT_SCOPE_LINK`, `RTN_UNICAST`.
const TABLE_MAIN: u8 = 254;
const PROTOCOL_STATIC: u8 = 4;
const SCOPE_UNIVERSE: u8 = 0;
const SCOPE_LINK: u8 = 253;
const UNICAST: u8 = 1;

const LWTUNNEL_ENCAP_BPF: u16 = 6;
const LWTUNNEL_ENCAP_SEG6_LOCAL: u16 = 7;
const LWT_BPF_IN: u16 = 1;
const LWT_BPF_OUT: u16 = 2;
const LWT_BPF_XMIT: u16 = 3;
/// Of the program within either: its descriptor and its name.
const PROG_FD: u16 = 1;
const PROG_NAME: u16 = 2;
const SEG6_LOCAL_ACTION: u16 = 1;
const SEG6_LOCAL_BPF: u16 = 8;
const SEG6_LOCAL_ACTION_END_BPF: u32 = 15;

/// A destination and the way there.
pub(super) struct Route<'a> {
    pub(super) to: (IpAddr, u8),
    pub(super) device: &'a str,
    pub(super) via: Option<IpAddr>,
}

/// Makes a route with the program on it.
pub(super) fn attach(prog: Fd, prog_type: ProgType, route: &Route<'_>) -> Result<Attachment> {
    let device = device::index(route.device)?;
    let make = encapsulated(request(RTM_NEWROUTE, NEW, route, device), prog, prog_type)?;
    let undo = request(RTM_DELROUTE, 0, route, device);
    let guard = Socket::open()?.guarded(make, undo, prog).map_err(|e| refused(e, route))?;
    Attachment::without_link(prog, guard)
}

fn request(kind: u16, flags: u16, route: &Route<'_>, device: i32) -> Request {
    let (to, prefix_bits) = route.to;
    let family = if to.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let scope = if route.via.is_none() && to.is_ipv4() { SCOPE_LINK } else { SCOPE_UNIVERSE };
    let family = u8::try_from(family).unwrap_or_default();
    let fixed = [family, prefix_bits, 0, 0, TABLE_MAIN, PROTOCOL_STATIC, scope, UNICAST, 0, 0, 0, 0];
    let request =
        Request::new(kind, flags, &fixed).with(RTA_DST, &octets(to)).with(RTA_OIF, &device.to_ne_bytes());
    match route.via {
        Some(via) => request.with(RTA_GATEWAY, &octets(via)),
        None => request,
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// Adds the program to the request for a route.
fn encapsulated(request: Request, prog: Fd, prog_type: ProgType) -> Result<Request> {
    let program = |r: Request| r.with(PROG_FD, &prog.0.to_ne_bytes()).with_text(PROG_NAME, "skep");
    let tunnel = |hook: u16| {
        let request = request.clone().with(RTA_ENCAP_TYPE, &LWTUNNEL_ENCAP_BPF.to_ne_bytes());
        request.with_nested(RTA_ENCAP, |encap| encap.with_nested(hook, program))
    };
    Ok(match prog_type {
        ProgType::LWT_IN => tunnel(LWT_BPF_IN),
        ProgType::LWT_OUT => tunnel(LWT_BPF_OUT),
        ProgType::LWT_XMIT => tunnel(LWT_BPF_XMIT),
        ProgType::LWT_SEG6LOCAL => {
            let request = request.clone().with(RTA_ENCAP_TYPE, &LWTUNNEL_ENCAP_SEG6_LOCAL.to_ne_bytes());
            request.with_nested(RTA_ENCAP, |encap| {
                encap
                    .with(SEG6_LOCAL_ACTION, &SEG6_LOCAL_ACTION_END_BPF.to_ne_bytes())
                    .with_nested(SEG6_LOCAL_BPF, program)
            })
        }
        other => {
            return Err(Error::os(libc::EINVAL, format!("a program of type `{other}` cannot be on a route")));
        }
    })
}

fn refused(error: Error, route: &Route<'_>) -> Error {
    let (to, prefix_bits) = route.to;
    let error = error.context(format_args!("route to `{to}/{prefix_bits}`"));
    match error.errno() {
        libc::EOPNOTSUPP => {
            error.hint("it takes `CONFIG_LWTUNNEL_BPF`, for `lwt_seg6local` `CONFIG_IPV6_SEG6_BPF`")
        }
        libc::EEXIST => error.hint("there is such a route already; a longer prefix takes precedence"),
        _ => error,
    }
}
