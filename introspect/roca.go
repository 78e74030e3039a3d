package introspect

import "math/big"

// weakGenerator tells whether an RSA modulus bears the mark of the generator of
// CVE-2017-15361 ("ROCA"), which smart cards and TPM chips used for years. Its
// primes are powers of 65537 modulo the product of the first small primes, so
// that the modulus is one modulo each of them; and who sees that can factor it
// and sign in the issuer's name. Of the moduli made in another way less than one
// in a hundred million looks the same.
func weakGenerator(modulus *big.Int) bool {
	for _, prime := range [...]int64{
		3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
		101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
	} {
		residue := new(big.Int).Mod(modulus, big.NewInt(prime)).Int64()
		if !isPowerOf65537(residue, prime) {
			return false
		}
	}
	return true
}

// isPowerOf65537 tells whether a power of 65537 leaves this residue.
func isPowerOf65537(residue, prime int64) bool {
	for power := int64(1); ; {
		if power == residue {
			return true
		}
		if power = power * 65537 % prime; power == 1 {
			return false
		}
	}
}
