
# What objects there are: behind `id`, `name` and `tag`.
function __skep_objects
    set -l words (commandline -opc)
    set -l selector $words[-1]
    set -l family
    set -l options
    for word in $words[2..-2]
        if contains -- $word prog map link btf
            set family $word
        else if test -z "$family"
            set -a options $word
        end
    end
    # A kind of object whose commands take others has its name before them.
    if test -z "$family"; and contains -- "$options[1]" struct_ops
        set family map
        set options
    else if test -z "$family"; and contains -- "$options[1]" net cgroup iter perf
        set family prog
        set options
    end
    test -n "$family"; or return
    switch $selector
        case id
            skep $options $family list 2>/dev/null | string replace -rf '^(\d+): .*' '$1'
        case name tag
            skep $options $family list 2>/dev/null | string replace -rf "^\d+: .* $selector (\S+).*" '$1'
    end
end
complete -c skep -n 'contains -- (commandline -opc)[-1] id name tag' -f -a '(__skep_objects)'
