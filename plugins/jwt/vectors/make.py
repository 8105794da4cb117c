"""Makes pyjwt.json: tokens of other implementations (PyJWT, cryptography), good ones and bad ones, with the keys. Keys are new each time."""
import json, base64, time, hashlib, hmac
import jwt
from cryptography.hazmat.primitives.asymmetric import rsa, ec, ed25519
from cryptography.hazmat.primitives import serialization as S
b64=lambda b: base64.urlsafe_b64encode(b).rstrip(b'=').decode()
def pem(k): return k.public_key().public_bytes(S.Encoding.PEM,S.PublicFormat.SubjectPublicKeyInfo).decode()
R=rsa.generate_private_key(65537,2048); R1=rsa.generate_private_key(65537,2048); R4=rsa.generate_private_key(65537,4096); Rw=rsa.generate_private_key(65537,1024)
E=ec.generate_private_key(ec.SECP256R1()); E2=ec.generate_private_key(ec.SECP256R1()); E384=ec.generate_private_key(ec.SECP384R1())
D=ed25519.Ed25519PrivateKey.generate()
HS="this is a secret of the tests, 32+ bytes"
base=dict(iss="https://idp.example",sub="ann",aud="app",iat=1767225000,exp=1893456000,scope="read write",tier="gold",groups=["dev","a,b"],address={"city":"Köln"},admin=True,level=3)
t={}
t["hs256"]=jwt.encode(base,HS,"HS256",headers={"kid":"h1"})
t["rs256"]=jwt.encode(base,R,"RS256",headers={"kid":"r1"})
t["rs256_4096"]=jwt.encode(base,R4,"RS256",headers={"kid":"r4"})
t["es256"]=jwt.encode(base,E,"ES256",headers={"kid":"e1"})
t["eddsa"]=jwt.encode(base,D,"EdDSA",headers={"kid":"d1"})
t["rs256_no_kid"]=jwt.encode(base,R,"RS256")
t["rs256_rotated"]=jwt.encode(base,R1,"RS256",headers={"kid":"r2"})
t["es256_other_key"]=jwt.encode(base,E2,"ES256",headers={"kid":"e1"})
t["rs384"]=jwt.encode(base,R,"RS384",headers={"kid":"r1"})
t["ps256"]=jwt.encode(base,R,"PS256",headers={"kid":"r1"})
t["hs512"]=jwt.encode(base,HS,"HS512",headers={"kid":"h1"})
t["none"]=jwt.encode(base,None,"none")
# the public key as an HMAC secret
def hs(key,claims,header):
    h=b64(json.dumps(header).encode())+"."+b64(json.dumps(claims).encode())
    return h+"."+b64(hmac.new(key,h.encode(),hashlib.sha256).digest())
t["public_key_as_secret"]=hs(pem(R).encode(),base,{"alg":"HS256","kid":"r1"})
t["embedded_jwk"]=jwt.encode(base,E2,"ES256",headers={"jwk":json.loads(jwt.algorithms.ECAlgorithm.to_jwk(E2.public_key()))})
t["jku"]=jwt.encode(base,E2,"ES256",headers={"jku":"https://evil.example/jwks.json","kid":"evil"})
t["crit"]=jwt.encode(base,HS,"HS256",headers={"crit":["exp"],"kid":"h1"})
t["b64_false"]=hs(HS.encode(),base,{"alg":"HS256","kid":"h1","b64":False,"crit":["b64"]})
t["at_jwt"]=jwt.encode(base,HS,"HS256",headers={"typ":"at+jwt","kid":"h1"})
def h(**k):
    c=dict(base); c.update(k); c={a:b for a,b in c.items() if b is not None}
    return jwt.encode(c,HS,"HS256",headers={"kid":"h1"})
t["no_exp"]=h(exp=None); t["expired"]=h(exp=1767225500); t["not_yet"]=h(nbf=1767226200); t["from_the_future"]=h(iat=1767226200)
t["exp_text"]=hs(HS.encode(),dict(base,exp="1893456000"),{"alg":"HS256","kid":"h1"})
t["exp_float"]=h(exp=1767225660.5)
t["other_issuer"]=h(iss="https://evil.example"); t["aud_list"]=h(aud=["x","app"]); t["other_aud"]=h(aud="other"); t["no_aud"]=h(aud=None)
t["scp_list"]=h(scope=None,scp=["read","write"]); t["read_only"]=h(scope="read")
t["line_end"]=h(sub="ann\r\nx-admin: 1"); t["percent"]=h(sub="50%")
t["claims_no_object"]=hs(HS.encode(),["a"],{"alg":"HS256","kid":"h1"})
t["silver"]=h(tier="silver",sub="bob")
t["es256_zero"]=t["es256"].rsplit(".",1)[0]+"."+b64(bytes(64))
# DER form of an ECDSA signature instead of r||s
hp=t["es256"].rsplit(".",1)[0]
from cryptography.hazmat.primitives import hashes
t["es256_der"]=hp+"."+b64(E.sign(hp.encode(),ec.ECDSA(hashes.SHA256())))
def jwk(k,alg,kid,cls): d=json.loads(cls.to_jwk(k.public_key())); d.pop("key_ops",None); d.update(kid=kid,use="sig",alg=alg); return d
A=jwt.algorithms
jr=jwk(R,"RS256","r1",A.RSAAlgorithm); jr2=jwk(R1,"RS256","r2",A.RSAAlgorithm); je=jwk(E,"ES256","e1",A.ECAlgorithm); jd=jwk(D,"EdDSA","d1",A.OKPAlgorithm)
je384=jwk(E384,"ES384","e384",A.ECAlgorithm); jenc=dict(jwk(E2,"ES256","enc",A.ECAlgorithm),use="enc"); jweak=jwk(Rw,"RS256","weak",A.RSAAlgorithm)
jo={"kty":"oct","k":b64(HS.encode()),"kid":"h1","alg":"HS256"}
jp=dict(jr,alg="PS256",kid="ps")
vec={"secret":HS,"tokens":t,"pem":{"rs256":pem(R),"rs256_4096":pem(R4),"rs256_weak":pem(Rw),"es256":pem(E),"es384":pem(E384),"eddsa":pem(D),
 "rs256_pkcs1":R.public_key().public_bytes(S.Encoding.PEM,S.PublicFormat.PKCS1).decode()},
 "jwks":{"keys":[jr,je,jd,je384,jenc,jweak,jp]},"rotated":{"keys":[jr2,je]},"oct":jo,"rs256_jwk":jr,"es256_jwk":je,"eddsa_jwk":jd}
json.dump(vec, open("pyjwt.json", "w"), indent=1)
