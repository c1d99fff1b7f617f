
# What objects there are: behind `id`, `name` and `tag`.
_skep_objects() {
    local selector=$words[CURRENT-1] family='' what='' word
    local -a options found
    for word in ${words[2,CURRENT-2]}; do
        case $word in
        prog | map | link | btf) family=$word ;;
        *) [[ -n $family ]] || options+=($word) ;;
        esac
    done
    case $selector in
    id) what='^\([0-9][0-9]*\): .*' ;;
    name | tag) what="^[0-9][0-9]*: .* $selector \([^ ]*\).*" ;;
    esac
    # A kind of object whose commands take others has its name before them.
    case $family:${options[1]-} in
    :struct_ops) family=map options=() ;;
    :net | :cgroup | :iter | :perf) family=prog options=() ;;
    esac
    if [[ -n $family && -n $what ]]; then
        found=(${(f)"$(skep $options $family list 2>/dev/null | sed -n "s/$what/\1/p")"})
        compadd -- $found
    else
        _skep "$@"
    fi
}
compdef _skep_objects skep
