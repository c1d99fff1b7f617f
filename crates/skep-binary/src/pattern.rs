//! Patterns of function names.

/// Does `name` match a pattern in which `*` stands for any characters and `?` for one?
pub fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // Where to go on when what follows the last `*` does not fit: the `*` takes one character more.
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p, n));
                p += 1;
            }
            Some(&c) if c == b'?' || c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match retry {
                Some((star, taken)) => {
                    retry = Some((star, taken + 1));
                    p = star + 1;
                    n = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let check = |pattern: &str, name: &str| glob(pattern.as_bytes(), name.as_bytes());
        assert!(check("tcp_*", "tcp_connect") && check("*", "") && check("*_sys_*", "__x64_sys_openat"));
        assert!(check("a?c", "abc") && check("a*b*c", "a_b_b_c"));
        assert!(
            !check("tcp_*", "udp_connect") && !check("a?c", "ac") && !check("", "a") && !check("a*b", "abc")
        );
    }
}
