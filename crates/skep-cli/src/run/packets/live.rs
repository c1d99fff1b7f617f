//! Packets of a device, one after another, until a signal comes.

use std::cell::RefCell;
use std::os::fd::AsFd as _;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::event::{PollFd, PollFlags, poll};
use skep::packets::capture::Stamp;
use skep::packets::{Frame, Source};
use skep::{Error, Result};
use skep_user::device::Device;
use skep_user::front::Front;

/// A device's packets.
pub(super) struct Live<'a> {
    device: Rc<RefCell<Device>>,
    front: &'a Front,
    data: Vec<u8>,
}

impl<'a> Live<'a> {
    pub(super) fn new(device: Rc<RefCell<Device>>, front: &'a Front) -> Self {
        Self { device, front, data: Vec::new() }
    }

    /// Sleeps until there is a packet; `false` when a signal comes first.
    fn wait(&self) -> Result<bool> {
        let device = self.device.borrow();
        let both = [device.as_fd(), self.front.as_fd()];
        let mut fds = both.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        loop {
            match poll(&mut fds, None) {
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(Error::file("poll".as_ref(), errno.into())),
            }
        }
        Ok(fds[1].revents().is_empty())
    }
}

impl Source for Live<'_> {
    fn next(&mut self) -> Result<Option<Frame<'_>>> {
        if !self.wait()? {
            return Ok(None);
        }
        let mut device = self.device.borrow_mut();
        let frame = device.receive().map_err(|e| Error::file("the device".as_ref(), e))?;
        self.data.clear();
        self.data.extend_from_slice(frame);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let nanoseconds = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let stamp = Stamp { nanoseconds, wire_len: self.data.len() as u32 };
        Ok(Some(Frame { data: &self.data, stamp, ifindex: device.ifindex() }))
    }
}
