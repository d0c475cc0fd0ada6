module changelog-check

go 1.24
