//! `skep run --in CAPTURE` and `--device NAME`: the object's packet program on packets, its verdicts counted, its packets
//! written or sent back.

mod live;

use std::cell::RefCell;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

use serde_json::{Map as Json, Value, json};
use skep::object::{Object, Program};
use skep::packets::capture::{LinkType, Reader, Writer};
use skep::packets::verdict::Verdict;
use skep::packets::{Frame, Sinks, Summary};
use skep::records::EventSpec;
use skep::runtime::{EventSource, SharedRuntime};
use skep::{Error, Loaded, LoadedProgram, Result, host, packets};
use skep_isa::uapi::ProgType;
use skep_user::device::Device;
use skep_user::front::{self, Front};

use super::print::Printer;
use super::{open, printk, results, streams, user_config, watch};
use crate::args::{Format, RunArgs, RuntimeChoice};
use crate::runtime::Sight;
use crate::table::{Align, Column};
use crate::term;

/// Packets between two looks at buffers and signals, and at signals alone.
const STRETCH: u32 = 64;
const LONG_STRETCH: u32 = 1024;

/// Runs the object's packet program until packets end or a signal comes.
pub(super) fn run(choice: Option<RuntimeChoice>, args: &RunArgs) -> Result<ExitCode> {
    let specs = args.event.iter().map(|text| EventSpec::parse(text)).collect::<Result<Vec<_>>>()?;
    let mut object = open(args)?;
    let name = choose(&object, args.program.as_deref())?;
    object.load_for(&name);
    let target = host::target(&object);
    // Test runs of the kernel would do, too, but only for packets of a page, and far slower.
    let choice = choice.or(Some(RuntimeChoice::User));
    let runtime = crate::runtime::open(choice, Sight::Tree, user_config(args))?;
    let loaded = skep::load(&runtime, &object, object.link(&target)?)?;
    let program = loaded.programs.iter().flatten().find(|program| program.linked.name == name);
    let program = program.ok_or_else(|| {
        Error::usage(format!("program `{name}` is not loaded"), "`skep prog load` says why")
    })?;
    let origin = Origin::open(args)?;
    let writers = Writers::create(args, origin.link())?;
    let front = front::split().map_err(|e| Error::file("fork".as_ref(), e))?;
    let status = streams(&loaded, &specs).and_then(|streams| {
        let (printer, sources) = Printer::new(args.output, streams);
        let printk = loaded.writes_lines().then(|| printk(&runtime)).flatten();
        let device = origin.device();
        let stretch = match device {
            // What a device's packets have left behind is shown at once.
            Some(_) => 1,
            None if sources.is_empty() && printk.is_none() => LONG_STRETCH,
            None => STRETCH,
        };
        let watcher =
            Watcher { sources, printk, printer, front: &front, stopped: None, stretch, left: stretch };
        let mut way = Way { writers, watcher, device, prog_type: program.linked.prog_type };
        way.run(&loaded, program, origin, args)
    });
    let status = status.unwrap_or_else(|error| {
        term::error(&error);
        1
    });
    drop(loaded);
    drop::<SharedRuntime>(runtime);
    front.finish(status)
}

/// The packet program to run.
fn choose(object: &Object, wanted: Option<&str>) -> Result<String> {
    let on_packets = |program: &&Program| {
        let meant = program.autoload || wanted == Some(program.name.as_str());
        meant && runs_on_packets(program.prog_type)
    };
    let names: Vec<String> =
        object.programs.iter().filter(on_packets).map(|program| program.name.clone()).collect();
    let list = names.join(", ");
    match (wanted, names.as_slice()) {
        (_, []) => Err(Error::usage(
            "the object has no program that runs on packets",
            "XDP, TC, socket filter, cgroup_skb, flow dissector and LWT programs do",
        )),
        (Some(wanted), names) if names.iter().any(|name| name == wanted) => Ok(wanted.to_owned()),
        (Some(wanted), _) => Err(Error::usage(
            format!("the object has no packet program `{wanted}`"),
            format!("it has {list}"),
        )),
        (None, [only]) => Ok(only.clone()),
        (None, _) => Err(Error::usage(
            format!("the object has several packet programs: {list}"),
            "choose one with `--program NAME`",
        )),
    }
}

/// Programs that `--in` and `--device` can run.
pub(super) fn runs_on_packets(prog_type: ProgType) -> bool {
    matches!(
        prog_type,
        ProgType::XDP
            | ProgType::SCHED_CLS
            | ProgType::SCHED_ACT
            | ProgType::SOCKET_FILTER
            | ProgType::CGROUP_SKB
            | ProgType::FLOW_DISSECTOR
            | ProgType::LWT_IN
            | ProgType::LWT_OUT
            | ProgType::LWT_XMIT
            | ProgType::LWT_SEG6LOCAL
    )
}

/// Where packets come from.
enum Origin {
    Capture(Reader),
    Device(Rc<RefCell<Device>>),
}

impl Origin {
    fn open(args: &RunArgs) -> Result<Self> {
        match (&args.input, &args.device) {
            (Some(path), _) => Ok(Self::Capture(Reader::open(path)?)),
            (None, Some(name)) => Ok(Self::Device(Rc::new(RefCell::new(Device::open(name)?)))),
            (None, None) => Err(Error::usage("there are no packets", "give a capture with `--in`")),
        }
    }

    /// The link layer of the captures that are written.
    fn link(&self) -> LinkType {
        match self {
            Self::Capture(reader) => reader.link_type().unwrap_or(LinkType::Ethernet),
            Self::Device(_) => LinkType::Ethernet,
        }
    }

    fn device(&self) -> Option<Rc<RefCell<Device>>> {
        match self {
            Self::Capture(_) => None,
            Self::Device(device) => Some(Rc::clone(device)),
        }
    }
}

/// The captures that are written.
struct Writers {
    out: Option<Writer>,
    drops: Option<Writer>,
}

impl Writers {
    fn create(args: &RunArgs, link: LinkType) -> Result<Self> {
        let same = |other: &Option<PathBuf>| other.is_some() && *other == args.input;
        if same(&args.out) || same(&args.drops) {
            return Err(Error::usage(
                "a capture cannot be read and written at once",
                "give `--out` another name",
            ));
        }
        let create =
            |path: &Option<PathBuf>| path.as_ref().map(|path| Writer::create(path, link)).transpose();
        Ok(Self { out: create(&args.out)?, drops: create(&args.drops)? })
    }

    fn finish(&mut self) -> Result<()> {
        [&mut self.out, &mut self.drops].into_iter().flatten().try_for_each(Writer::finish)
    }
}

/// What is looked after between packets.
struct Watcher<'a> {
    sources: Vec<Box<dyn EventSource>>,
    printk: Option<Box<dyn EventSource>>,
    printer: Printer,
    front: &'a Front,
    /// The signal that asked for an end.
    stopped: Option<i32>,
    /// Packets between two looks, and to the next.
    stretch: u32,
    left: u32,
}

impl Watcher<'_> {
    #[cold]
    #[inline(never)]
    fn look(&mut self) -> Result<()> {
        self.left = self.stretch;
        self.stopped = self.stopped.or_else(|| self.front.stop_requested());
        watch::deliver(&mut self.sources, self.printk.as_deref_mut(), &mut self.printer)
            .map_err(|e| Error::file("stdout".as_ref(), e))
    }
}

/// Packets on their way through.
struct Way<'a> {
    writers: Writers,
    watcher: Watcher<'a>,
    /// The live device that packets can go back to.
    device: Option<Rc<RefCell<Device>>>,
    prog_type: ProgType,
}

impl Sinks for Way<'_> {
    fn wants_forwarded(&self) -> bool {
        self.writers.out.is_some() || self.device.is_some()
    }

    #[inline]
    fn forward(&mut self, verdict: Verdict, frame: &Frame<'_>) -> Result<()> {
        if verdict.returns() {
            self.send(frame)?;
        }
        let said = Some((self.prog_type, verdict));
        self.writers.out.as_mut().map_or(Ok(()), |out| out.write(frame, said))
    }

    #[inline]
    fn drop(&mut self, verdict: Verdict, frame: &Frame<'_>) -> Result<()> {
        let said = Some((self.prog_type, verdict));
        self.writers.drops.as_mut().map_or(Ok(()), |drops| drops.write(frame, said))
    }

    fn copy(&mut self, ifindex: u32, frame: &Frame<'_>) -> Result<()> {
        if self.device.as_ref().is_some_and(|device| device.borrow().ifindex() == ifindex) {
            self.send(frame)?;
        }
        self.writers.out.as_mut().map_or(Ok(()), |out| out.write(frame, None))
    }

    #[inline]
    fn between(&mut self) -> Result<bool> {
        self.watcher.left -= 1;
        if self.watcher.left == 0 {
            self.watcher.look()?;
        }
        Ok(self.watcher.stopped.is_none())
    }
}

impl Way<'_> {
    /// Sends a packet out of the device that it came in by.
    fn send(&self, frame: &Frame<'_>) -> Result<()> {
        let Some(device) = &self.device else { return Ok(()) };
        let sent = device.borrow().send(frame.data);
        sent.map_err(|e| Error::file("the device".as_ref(), e))
    }

    /// Runs, prints the summary also of a run that failed, and answers the exit status.
    fn run(
        &mut self,
        loaded: &Loaded,
        program: &LoadedProgram,
        origin: Origin,
        args: &RunArgs,
    ) -> Result<u8> {
        let above_link = !matches!(
            self.prog_type,
            ProgType::XDP | ProgType::SCHED_CLS | ProgType::SCHED_ACT | ProgType::FLOW_DISSECTOR
        );
        let mut runner = program.program.packets(above_link)?;
        let (summary, result) = match origin {
            Origin::Capture(mut reader) => packets::run(runner.as_mut(), self.prog_type, &mut reader, self),
            Origin::Device(device) => {
                let mut live = live::Live::new(device, self.watcher.front);
                packets::run(runner.as_mut(), self.prog_type, &mut live, self)
            }
        };
        let written = self.writers.finish();
        self.watcher.look()?;
        let printer = &mut self.watcher.printer;
        printer.report_lost();
        print(&summary, printer).map_err(|e| Error::file("stdout".as_ref(), e))?;
        if !args.no_results {
            results::print(loaded, printer)?;
        }
        printer.flush().map_err(|e| Error::file("stdout".as_ref(), e))?;
        result.and(written)?;
        Ok(self.watcher.stopped.map_or(0, |signal| 128u8.wrapping_add(signal as u8)))
    }
}

fn print(summary: &Summary, printer: &mut Printer) -> std::io::Result<()> {
    match printer.format() {
        Format::Json => printer.json_line(&as_json(summary)),
        _ => print_table(summary, printer),
    }
}

fn as_json(summary: &Summary) -> Value {
    let count = |(verdict, count): &(Verdict, packets::Count)| {
        (verdict.to_string(), json!({ "packets": count.packets, "bytes": count.bytes }))
    };
    let verdicts: Json<String, Value> = summary.verdicts.iter().map(count).collect();
    json!({
        "type": "packets",
        "packets": summary.packets(),
        "verdicts": verdicts,
        "copies": summary.copies,
        "program_ns": summary.program_ns(),
        "packet_ns": summary.packet_ns(),
    })
}

fn print_table(summary: &Summary, printer: &mut Printer) -> std::io::Result<()> {
    let column = |title: &str, width, align| Column { title: title.to_owned(), width, align };
    let columns = || {
        vec![
            column("VERDICT", 16, Align::Left),
            column("PACKETS", 10, Align::Right),
            column("BYTES", 12, Align::Right),
        ]
    };
    for (verdict, count) in &summary.verdicts {
        printer.row(columns(), &[verdict.to_string(), count.packets.to_string(), count.bytes.to_string()])?;
    }
    let copies = match summary.copies {
        0 => String::new(),
        copies => format!(", {copies} copies sent off"),
    };
    printer.caption(&format!(
        "{} packets{copies}: {} ns each, {} ns of it in the program",
        summary.packets(),
        summary.packet_ns(),
        summary.program_ns()
    ))
}
