
# What objects there are: behind `id`, `name` and `tag`.
_skep_objects() {
    local current=${COMP_WORDS[COMP_CWORD]} selector=${COMP_WORDS[COMP_CWORD - 1]} family='' what word
    local -a options=()
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-2}"; do
        case $word in
        prog | map | link | btf) family=$word ;;
        *) [[ $family ]] || options+=("$word") ;;
        esac
    done
    case $selector in
    id) what='^\([0-9][0-9]*\): .*' ;;
    name | tag) what="^[0-9][0-9]*: .* $selector \([^ ]*\).*" ;;
    *) what='' ;;
    esac
    # A kind of object whose commands take others has its name before them.
    case $family:${options[0]-} in
    :struct_ops) family=map options=() ;;
    :net | :cgroup | :iter | :perf) family=prog options=() ;;
    esac
    if [[ $family && $what ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(skep "${options[@]}" "$family" list 2>/dev/null | sed -n "s/$what/\1/p")" -- "$current")
    else
        _skep "$@"
    fi
}
complete -F _skep_objects -o nosort -o bashdefault -o default skep
