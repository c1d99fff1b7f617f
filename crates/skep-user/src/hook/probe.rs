//! Probes of functions, offsets and static probes: from an attach point to places in files, and from the places of all links
//! to the sites that the tracer stops at.

use std::path::PathBuf;
use std::sync::{Arc, Weak};

use skep_binary::Binary;
use skep_obj::AttachPoint;
use skep_runtime::{Error, Result};

use super::Event;
use crate::objects::Link;
use crate::tracer::Site;

/// A place that a link looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    pub(crate) offset: u64,
    pub(crate) semaphore: u64,
    /// What `bpf_get_attach_cookie` answers here.
    pub(crate) cookie: u64,
}

/// The places that an attach point means; those of static probes are found by [`static_probe`]. Other hooks have none.
pub(crate) fn places(point: &AttachPoint, cookie: u64) -> Result<Vec<Place>> {
    let place = |path: &PathBuf, offset| Place { path: path.clone(), offset, semaphore: 0, cookie };
    match point {
        AttachPoint::Uprobe { path: Some(path), symbol, offset, .. } => {
            let path = skep_binary::find(path)?;
            let binary = Binary::read(&path)?;
            let start = symbol.as_deref().map_or(Ok(0), |symbol| binary.function(symbol))?;
            Ok(vec![place(&path, start.wrapping_add(*offset))])
        }
        AttachPoint::UprobeMulti { path: Some(path), pattern: Some(pattern), .. } => {
            let path = skep_binary::find(path)?;
            let offsets = Binary::read(&path)?.functions(pattern)?;
            Ok(offsets.into_iter().map(|offset| place(&path, offset)).collect())
        }
        AttachPoint::Uprobe { .. } | AttachPoint::UprobeMulti { .. } | AttachPoint::Usdt { .. } => {
            Err(Error::os(libc::EINVAL, "the section does not say which file and function to attach to")
                .hint("name them: `--attach PROGRAM=uprobe:PATH:FUNCTION`"))
        }
        _ => Ok(Vec::new()),
    }
}

/// The places of a static probe, each with the string that says where its arguments are.
pub(crate) fn static_probe(path: &str, provider: &str, name: &str) -> Result<Vec<(Place, String)>> {
    let path = skep_binary::find(path)?;
    let notes = Binary::read(&path)?.notes(provider, name)?;
    let place = |offset, semaphore| Place { path: path.clone(), offset, semaphore, cookie: 0 };
    Ok(notes.into_iter().map(|note| (place(note.offset, note.semaphore), note.arguments)).collect())
}

/// A link at a site.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) link: Weak<Link>,
    pub(super) event: Event,
    pub(super) cookie: u64,
}

/// The sites that links look at, and who looks at each. The order of links decides the numbers of sites, so the tracer and
/// the dispatcher agree.
pub(super) fn sites(links: &[Arc<Link>]) -> (Vec<Site>, Vec<Vec<Watcher>>) {
    let (mut sites, mut watchers): (Vec<Site>, Vec<Vec<Watcher>>) = Default::default();
    let mut known = std::collections::HashMap::new();
    for link in links {
        let event = link.hook.event;
        for place in &link.places {
            let number = *known.entry((place.path.clone(), place.offset)).or_insert_with(|| {
                let (path, offset) = (place.path.clone(), place.offset);
                sites.push(Site { path, offset, entry: false, ret: false, semaphore: 0 });
                watchers.push(Vec::new());
                sites.len() - 1
            });
            let site = &mut sites[number];
            site.entry |= event != Event::ProbeReturn;
            site.ret |= event != Event::Probe;
            site.semaphore = site.semaphore.max(place.semaphore);
            watchers[number].push(Watcher { link: Arc::downgrade(link), event, cookie: place.cookie });
        }
    }
    (sites, watchers)
}
