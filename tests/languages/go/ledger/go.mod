module ledger

go 1.27.1

require wit_component v0.0.0

replace wit_component => ./build/weir

replace go.bytecodealliance.org/pkg => ./build/weir/pkg
