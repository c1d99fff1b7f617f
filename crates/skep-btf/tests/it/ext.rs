//! `.BTF.ext`, put together by hand.

use std::sync::Arc;

use skep_btf::ext::{Ext, LineInfo};
use skep_btf::{Builder, ByteOrder, ErrorKind, TypeId};

/// A group: string offset of the section's name, records.
type Group<'a> = (u32, &'a [&'a [u32]]);

/// Bytes of one kind of records; none at all without groups.
fn records(order: ByteOrder, record_bytes: u32, groups: &[Group<'_>]) -> Vec<u8> {
    let mut words = Vec::new();
    if !groups.is_empty() {
        words.push(record_bytes);
    }
    for (name, records) in groups {
        words.extend([*name, records.len() as u32]);
        words.extend(records.iter().flat_map(|record| record.iter()));
    }
    words.into_iter().flat_map(|word| bytes_of(order, word)).collect()
}

fn bytes_of(order: ByteOrder, word: u32) -> [u8; 4] {
    match order {
        ByteOrder::Little => word.to_le_bytes(),
        ByteOrder::Big => word.to_be_bytes(),
    }
}

/// A `.BTF.ext` with those records of functions, lines and relocations.
fn section(order: ByteOrder, parts: [Vec<u8>; 3]) -> Vec<u8> {
    let mut out = match order {
        ByteOrder::Little => vec![0x9f, 0xeb, 1, 0],
        ByteOrder::Big => vec![0xeb, 0x9f, 1, 0],
    };
    out.extend(bytes_of(order, 32));
    let mut off = 0;
    for part in &parts {
        out.extend(bytes_of(order, off));
        out.extend(bytes_of(order, part.len() as u32));
        off += part.len() as u32;
    }
    out.extend(parts.concat());
    out
}

#[test]
fn records_of_every_kind_are_read_by_section() {
    for order in [ByteOrder::Little, ByteOrder::Big] {
        let mut strings = Builder::new();
        let (text, kprobe) = (strings.add_string(".text"), strings.add_string("kprobe/x"));
        let btf = strings.finish_btf(None).unwrap();
        let bytes = section(
            order,
            [
                records(order, 8, &[(text, &[&[0, 7], &[16, 8]]), (kprobe, &[&[8, 9]])]),
                records(order, 16, &[(text, &[&[24, 1, 2, 33 << 10 | 5]])]),
                records(order, 16, &[(kprobe, &[&[8, 3, 4, 12]])]),
            ],
        );
        let ext = Ext::parse(Arc::new(bytes)).unwrap();

        let funcs: Vec<_> = ext
            .func_info()
            .map(|group| {
                let records: Vec<_> = group.records().map(|func| (func.insn_off, func.ty.0)).collect();
                (group.section(&btf).unwrap(), records)
            })
            .collect();
        assert_eq!(funcs, [(".text", vec![(0, 7), (16, 8)]), ("kprobe/x", vec![(8, 9)])]);

        let line: LineInfo = ext.line_info().next().unwrap().records().next().unwrap();
        assert_eq!(
            (line.insn_off, line.file_off, line.text_off, line.line(), line.column()),
            (24, 1, 2, 33, 5)
        );

        let relo = ext.core_relos().next().unwrap().records().next().unwrap();
        assert_eq!((relo.insn_off, relo.ty, relo.access_off, relo.kind), (8, TypeId(3), 4, 12));
    }
}

#[test]
fn longer_records_are_read_and_kept_for_the_kernel() {
    let order = ByteOrder::NATIVE;
    let lines: &[&[u32]] = &[&[0, 1, 2, 3, 44], &[16, 1, 2, 3, 55], &[32, 1, 2, 3, 66]];
    let bytes = section(order, [vec![], records(order, 20, &[(0, lines)]), vec![]]);
    let ext = Ext::parse(Arc::new(bytes)).unwrap();
    assert_eq!(ext.line_info_bytes(), 20);
    let group = ext.line_info().next().unwrap();
    assert_eq!(group.records().map(|line| line.insn_off).collect::<Vec<_>>(), [0, 16, 32]);

    // Instructions 2 to 4 of the section become instruction 100 and those after it.
    let mut out = Vec::new();
    group.append_for_load(2..5, 100, &mut out);
    let words: Vec<u32> =
        out.chunks_exact(4).map(|word| u32::from_ne_bytes(word.try_into().unwrap())).collect();
    assert_eq!(words, [100, 1, 2, 3, 55, 102, 1, 2, 3, 66]);
}

#[test]
fn what_does_not_fit_is_malformed() {
    let order = ByteOrder::NATIVE;
    let good = section(order, [records(order, 8, &[(0, &[&[0, 7]])]), vec![], vec![]]);
    assert!(Ext::parse(Arc::new(good.clone())).is_ok());
    let check = |bytes: Vec<u8>, expected: &str| {
        let error = Ext::parse(Arc::new(bytes)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed);
        assert!(error.to_string().contains(expected), "{error}");
    };
    check(good[..good.len() - 4].to_vec(), "section ends at offset 52, but there are 48 bytes");
    check(good[..6].to_vec(), "header needs 8 bytes");
    check(b"\x7fELF\x01\0\0\0".to_vec(), "not .BTF.ext");
    check(
        section(order, [records(order, 4, &[(0, &[&[0]])]), vec![], vec![]]),
        "each has 4 bytes instead of 8",
    );
    check(
        section(order, [records(order, 8, &[(0, &[&[0, 7]]), (0, &[&[0]])]), vec![], vec![]]),
        "more than fit",
    );
}
